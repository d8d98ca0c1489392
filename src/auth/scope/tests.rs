//! The laws of scopes, by table and by property.

use proptest::prelude::*;

use super::*;

fn scopes() -> [Scope; 6] {
    [
        Scope::Score("boston".to_owned()),
        Scope::Score("iris".to_owned()),
        Scope::ModelsRead,
        Scope::ModelsWrite,
        Scope::Jobs,
        Scope::Admin,
    ]
}

/// Which of [`scopes`] are open.
fn open(grants: &Grants) -> [bool; 6] {
    scopes().map(|scope| grants.allow(&scope))
}

#[test]
fn each_scope_opens_its_own_routes() {
    for (text, expected) in [
        ("score:boston", [true, false, false, false, false, false]),
        ("score:*", [true, true, false, false, false, false]),
        ("models:read", [false, false, true, false, false, false]),
        ("models:write", [false, false, false, true, false, false]),
        ("jobs:*", [false, false, false, false, true, false]),
        ("admin", [true; 6]),
    ] {
        assert_eq!(open(&Grants::new([text], [])), expected, "{text}");
    }
}

#[test]
fn each_role_opens_its_routes() {
    for (role, expected) in [
        ("owner", [true; 6]),
        ("contributor", [true, true, true, true, false, false]),
        ("reader", [true, true, true, false, false, false]),
        ("Owner", [false; 6]),
        ("owner ", [false; 6]),
        ("score:*", [false; 6]),
    ] {
        assert_eq!(open(&Grants::new([], [role])), expected, "{role}");
    }
}

#[test]
fn near_misses_grant_nothing() {
    for text in [
        "",
        "*",
        "score",
        "score:",
        "score:**",
        "score:bos*",
        "score:*ton",
        "Score:*",
        "SCORE:boston",
        "score:boston ",
        " score:boston",
        "score: boston",
        "score:boston\n",
        "score:boston,score:iris",
        "scores:*",
        "models:*",
        "jobs:read",
        "Admin",
        "admin:*",
        "owner",
    ] {
        assert_eq!(open(&Grants::new([text], [])), [false; 6], "{text:?}");
    }
}

#[test]
fn the_model_named_star_needs_the_grant_for_all() {
    let star = Scope::Score("*".to_owned());
    assert!(!Grants::new(["score:boston"], []).allow(&star));
    assert!(Grants::new(["score:*"], []).allow(&star));
}

#[test]
fn an_unknown_scope_is_told_what_there_is() {
    let error = "score:bos*".parse::<Grant>().expect_err("no patterns").to_string();
    for form in ["'score:bos*'", "score:MODEL", "score:*", "models:read", "models:write", "jobs:*", "admin"] {
        assert!(error.contains(form), "{error}");
    }
}

#[test]
fn text_of_scopes_is_that_of_the_contract() {
    assert_eq!(
        scopes().map(|s| s.to_string()),
        ["score:boston", "score:iris", "models:read", "models:write", "jobs:*", "admin"]
    );
}

/// Text that is likely to be taken for a scope.
fn scope_like() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "(score|models|jobs|admin)?[:*]?[a-z*: ]{0,4}",
        "score:[a-c*: ]{0,3}",
        Just("score:*".to_owned()),
        Just("admin".to_owned()),
    ]
}

proptest! {
    #[test]
    fn only_the_exact_grant_or_all_scores_a_model(text in scope_like(), model in "[a-c*: ]{0,3}") {
        let expected = text == "admin" || text == "score:*"
            || (text == format!("score:{model}") && !model.is_empty() && !model.contains(['*', ' ']));
        prop_assert_eq!(Grants::new([text.as_str()], []).allow(&Scope::Score(model)), expected);
    }

    #[test]
    fn a_grant_of_one_model_opens_no_other(granted in "\\PC{1,8}", asked in "\\PC{1,8}") {
        prop_assume!(granted != asked && granted != "*");
        let grant = format!("score:{granted}");
        prop_assert!(!Grants::new([grant.as_str()], []).allow(&Scope::Score(asked)));
    }

    #[test]
    fn grants_add_up_and_nothing_more(texts in proptest::collection::vec(scope_like(), 0..6)) {
        let together = open(&Grants::new(texts.iter().map(String::as_str), []));
        let alone = texts.iter().map(|t| open(&Grants::new([t.as_str()], []))).fold([false; 6], |mut sum, one| {
            for (s, o) in sum.iter_mut().zip(one) { *s |= o; }
            sum
        });
        prop_assert_eq!(together, alone);
    }

    #[test]
    fn a_grant_reads_back_from_its_text(text in scope_like()) {
        if let Ok(grant) = text.parse::<Grant>() {
            prop_assert_eq!(grant.to_string(), text);
        }
    }
}
