//! Reading and writing paths.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::prelude::*;

use super::*;

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

#[test]
fn values_are_read_off_paths() {
    let paths = template("history/product{p:int}.csv");
    assert_eq!(paths.read("history/product17.csv"), Some(vec!["17".to_owned()]));
    for other in ["history/product.csv", "history/product017.csv", "history/product1x.csv", "history/product17.csv.bak"]
    {
        assert_eq!(paths.read(other), None, "{other}");
    }
    assert_eq!(paths.folder(), "history/");
    let dated = template("{day:date}/{store}-{p}.csv");
    assert_eq!(dated.read("2026-02-28/a-b-1.csv"), Some(vec!["2026-02-28".into(), "a".into(), "b-1".into()]));
    assert_eq!(dated.read("2026-02-30/a-1.csv"), None);
    assert_eq!(dated.folder(), "");
}

#[test]
fn a_name_that_stands_twice_has_one_value() {
    let paths = template("{p}/product{p}.csv");
    assert_eq!(paths.read("7/product7.csv"), Some(vec!["7".to_owned()]));
    assert_eq!(paths.read("7/product8.csv"), None);
    assert_eq!(paths.names(), ["p"]);
}

#[test]
fn captures_stay_within_a_folder() {
    assert_eq!(template("a/{p}.csv").read("a/b/c.csv"), None);
}

#[test]
fn mistakes_are_named() {
    for (text, part) in [
        ("a{p", "never closed"),
        ("a}p", "without a"),
        ("{a}{b}", "nothing between"),
        ("{p:float}", "'float'"),
        ("{1p}", "{1p}"),
        ("{}", "{}"),
    ] {
        let error = Template::parse(text).expect_err(text);
        assert!(error.contains(part), "{error}");
    }
}

/// Templates of one to three captures between literals.
fn templates() -> impl Strategy<Value = String> {
    let kind = prop_oneof![Just(""), Just(":int"), Just(":date"), Just(":text")];
    (proptest::collection::vec(("[a-z/_.-]{1,6}", kind), 1..4), "[a-z.]{0,5}").prop_map(|(captures, end)| {
        let mut text = String::new();
        for (index, (literal, kind)) in captures.iter().enumerate() {
            text.push_str(&format!("{literal}{{c{index}{kind}}}"));
        }
        text + &end
    })
}

fn value(kind: Option<CaptureKind>, number: u32) -> String {
    match kind {
        Some(CaptureKind::Integer) => number.to_string(),
        Some(CaptureKind::Date) => format!("20{:02}-{:02}-{:02}", number % 100, number % 12 + 1, number % 28 + 1),
        _ => format!("V{number}"),
    }
}

proptest! {
    #[test]
    fn what_was_written_reads_back(text in templates(), numbers in proptest::collection::vec(0u32..100_000, 3)) {
        let template = template(&text);
        let values: Vec<(String, String)> = (template.captures().zip(&numbers))
            .map(|((name, kind), &number)| (name.to_owned(), value(kind, number)))
            .collect();
        let look_up = |name: &str| values.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let path = template.write(look_up).unwrap();
        // A literal such as `-` may also stand within a date; whatever was read then writes the same path.
        if let Some(read) = template.read(&path) {
            let names = template.names();
            let again = template.write(|name| {
                names.iter().position(|other| *other == name).map(|index| read[index].as_str())
            });
            prop_assert_eq!(again.as_deref(), Some(path.as_str()));
        } else {
            prop_assert!(template.captures().any(|(_, kind)| kind == Some(CaptureKind::Date)), "{} {}", text, path);
        }
        prop_assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
    }

    #[test]
    fn whatever_is_read_writes_the_same_path(text in templates(), path in "[a-z0-9/_.-]{0,24}") {
        let template = template(&text);
        if let Some(read) = template.read(&path) {
            let names = template.names();
            let again = template.write(|name| {
                names.iter().position(|other| *other == name).map(|index| read[index].as_str())
            });
            prop_assert_eq!(again, Some(path));
        }
    }
}
