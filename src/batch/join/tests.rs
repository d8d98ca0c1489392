//! Joins, complete and not.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::prelude::*;

use super::*;

fn input(name: &str, template: &str, paths: &[&str]) -> JoinInput {
    let template = Template::parse(template).unwrap();
    let objects = paths
        .iter()
        .filter_map(|path| {
            let source = Source { path: (*path).to_owned(), size: 1, etag: None, part: None };
            Some((template.read(path)?, source))
        })
        .collect();
    JoinInput { name: name.to_owned(), template, objects }
}

fn ids(joined: &Join) -> Vec<String> {
    joined.complete.iter().map(|joined| partition_id(&joined.key)).collect()
}

#[test]
fn objects_of_one_key_belong_together() {
    let joined = join(vec![
        input("history", "h/{p:int}.csv", &["h/1.csv", "h/2.csv", "h/3.csv", "h/readme.csv"]),
        input("futurex", "f/{p:int}.csv", &["f/2.csv", "f/3.csv", "f/4.csv"]),
        input("stores", "stores.csv", &["stores.csv"]),
    ])
    .unwrap();
    assert_eq!(ids(&joined), ["p=2", "p=3"]);
    assert_eq!(joined.complete[0].inputs[0].1.path, "h/2.csv");
    assert_eq!(joined.broadcast[0].0, "stores");
    let missing: Vec<(&str, &[String])> =
        joined.missing.iter().map(|key| (key.partition.as_str(), key.inputs.as_slice())).collect();
    assert_eq!(missing, [("p=1", &["futurex".to_owned()][..]), ("p=4", &["history".to_owned()][..])]);
}

#[test]
fn an_input_with_fewer_captures_goes_to_all_that_it_fits() {
    let joined = join(vec![
        input("sales", "{day:date}/{p}.csv", &["2026-01-01/a.csv", "2026-01-01/b.csv", "2026-01-02/a.csv"]),
        input("prices", "prices/{p}.csv", &["prices/a.csv", "prices/b.csv"]),
    ])
    .unwrap();
    assert_eq!(ids(&joined), ["day=2026-01-01,p=a", "day=2026-01-01,p=b", "day=2026-01-02,p=a"]);
    assert_eq!(joined.complete[2].inputs[1].1.path, "prices/a.csv");
}

#[test]
fn what_can_not_be_joined_is_said() {
    let error = join(vec![input("a", "{x}.csv", &["1.csv"]), input("b", "{y}/b.csv", &["1/b.csv"])]).unwrap_err();
    assert!(error[0].contains("{x}, {y}"), "{error:?}");
    let error = join(vec![input("a", "a/{x}.csv", &[]), input("s", "s.csv", &[])]).unwrap_err();
    assert!(error.iter().any(|problem| problem.contains("nothing matches a/{x}.csv")), "{error:?}");
    assert!(error.iter().any(|problem| problem.contains("there is no s.csv")), "{error:?}");
}

#[test]
fn inputs_without_captures_are_one_partition() {
    let joined = join(vec![input("data", "data.csv", &["data.csv"])]).unwrap();
    assert_eq!(ids(&joined), ["all"]);
    assert_eq!(joined.complete[0].inputs.len(), 1);
}

#[test]
fn long_and_unusual_keys_have_short_safe_names() {
    let key = |value: &str| BTreeMap::from([("p".to_owned(), value.to_owned())]);
    assert_eq!(partition_id(&key("a b/c")), "p=a~20b~2Fc");
    let (one, two) = ("x".repeat(500) + "1", "x".repeat(500) + "2");
    assert!(partition_id(&key(&one)).len() <= MAX_ID);
    assert_ne!(partition_id(&key(&one)), partition_id(&key(&two)));
}

proptest! {
    #[test]
    fn every_key_is_complete_or_missing(
        left in proptest::collection::btree_set(0u32..50, 1..30),
        right in proptest::collection::btree_set(0u32..50, 1..30),
    ) {
        let paths = |folder: &str, keys: &BTreeSet<u32>| -> Vec<String> {
            keys.iter().map(|key| format!("{folder}/{key}.csv")).collect()
        };
        let (l, r) = (paths("l", &left), paths("r", &right));
        let joined = join(vec![
            input("l", "l/{k:int}.csv", &l.iter().map(String::as_str).collect::<Vec<_>>()),
            input("r", "r/{k:int}.csv", &r.iter().map(String::as_str).collect::<Vec<_>>()),
        ]).unwrap();
        prop_assert_eq!(joined.complete.len(), left.intersection(&right).count());
        prop_assert_eq!(joined.missing.len(), left.symmetric_difference(&right).count());
    }
}
