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
fn what_stands_between_captures_may_stand_in_their_values() {
    let paths = template("{name}_{n:int}.csv");
    assert_eq!(paths.read("north_sea_5.csv"), Some(vec!["north_sea".into(), "5".into()]));
    assert_eq!(paths.read("north_sea_05.csv"), None);
    let paths = template("{p}-{p}.csv");
    assert_eq!(paths.read("a-b-a-b.csv"), Some(vec!["a-b".into()]));
    let paths = template("{a}_{b}_{day:date}.csv");
    assert_eq!(paths.read("x_y_z_2026-01-02.csv"), Some(vec!["x".into(), "y_z".into(), "2026-01-02".into()]));
    // No place is looked at twice, or this would not end.
    let long = format!("{}.csv", "_".repeat(500));
    assert_eq!(template("{a}_{b}_{c}_{d}_{e}_{f:int}.csv").read(&long), None);
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
        let read = template.read(&path);
        prop_assert!(read.is_some(), "{} {}", text, path);
        let read = read.unwrap();
        let names = template.names();
        let again =
            template.write(|name| names.iter().position(|other| *other == name).map(|index| read[index].as_str()));
        prop_assert_eq!(again.as_deref(), Some(path.as_str()));
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
