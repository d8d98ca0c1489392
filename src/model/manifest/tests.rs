//! What manifests say, and every way to get one wrong.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::*;
use crate::frame::schema::{ColumnType, UnknownLevel};

fn problems(text: &str) -> Vec<String> {
    Manifest::parse(text).unwrap_err().0
}

#[test]
fn an_empty_manifest_is_the_default() {
    assert_eq!(Manifest::parse("").unwrap(), Manifest::default());
}

#[test]
fn everything_is_read() {
    let manifest = Manifest::parse(
        r#"
        description = "Bike rides per day"
        packages = ["randomForest"]
        script = "score.R"
        timeout = "10s"
        warm_up = false
        unknown_columns = "ignore"
        [predict]
        type = "response"
        n = 3
        [columns]
        temperature = "double"
        weather = { type = "factor", levels = ["clear", "rain"], unknown_level = "na" }
        day = { type = "date", nullable = false }
        "#,
    )
    .unwrap();
    assert_eq!(manifest.timeout, Some(Duration::from_secs(10)));
    assert_eq!(manifest.warm_up, Some(false));
    assert_eq!(
        manifest.predict,
        [("type".to_owned(), Argument::Character("response".to_owned())), ("n".to_owned(), Argument::Double(3.0))]
    );
    let (name, columns) = &manifest.inputs[0];
    assert_eq!(name, SINGLE_INPUT);
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["temperature", "weather", "day"], "in the order of the file");
    assert_eq!(columns[1].unknown_level, UnknownLevel::Na);
    assert!(!columns[2].nullable);
}

#[test]
fn arguments_with_dots_in_their_names_need_no_quotes() {
    let manifest =
        Manifest::parse("[predict]\nn.trees = 15\nn.cores = 1\n\"single.tree\" = true\na.b.c = \"x\"").unwrap();
    let names: Vec<&str> = manifest.predict.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["n.trees", "n.cores", "single.tree", "a.b.c"]);
    assert_eq!(manifest.predict[0].1, Argument::Double(15.0));
    for wrong in ["n = {}", "n.trees = 2020-01-01", "n.trees = [[1]]"] {
        assert!(problems(&format!("[predict]\n{wrong}"))[0].starts_with("predict.n"), "{wrong}");
    }
}

#[test]
fn columns_with_dots_in_their_names_need_quotes() {
    let problem = &problems("[columns]\nSepal.Length = \"double\"")[0];
    assert!(problem.contains("\"Sepal.Length\""), "{problem}");
    assert!(Manifest::parse("[columns]\n\"Sepal.Length\" = \"double\"").is_ok());
}

#[test]
fn all_mistakes_come_at_once() {
    let problems = problems(
        r#"
        packges = ["a"]
        timeout = "soon"
        warm_up = "no"
        [columns]
        a = "dubble"
        b = { type = "double", levels = ["x"] }
        c = { type = "factor", levels = ["x", "x"] }
        "#,
    );
    assert_eq!(problems.len(), 6, "{problems:?}");
    assert!(problems[0].contains("did you mean 'packages'?"), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("warm_up must be true or false")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("columns.a has the unknown type 'dubble'")));
}

#[test]
fn several_inputs_need_rows_like() {
    let text = "[inputs.history]\nsku = \"integer\"\n[inputs.futurex]\nsku = \"integer\"\n";
    assert!(problems(text)[0].contains("rows_like"));
    let manifest = Manifest::parse(&format!("rows_like = \"futurex\"\n{text}")).unwrap();
    let schemas = manifest.schemas(None, true).unwrap();
    assert_eq!(schemas.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["history", "futurex"]);
}

#[test]
fn a_script_stays_within_the_bundle() {
    assert!(problems("script = \"../score.R\"")[0].contains("without a path"));
}

#[test]
fn a_declared_column_refines_the_inferred_one() {
    let mut weather = Column::new("weather", ColumnType::Factor);
    weather.levels = vec!["clear".to_owned(), "rain".to_owned()];
    let inferred = vec![Column::new("x", ColumnType::Double), weather];
    let manifest = Manifest::parse("[columns]\nweather = { type = \"factor\", unknown_level = \"na\" }").unwrap();
    let schemas = manifest.schemas(Some(inferred.clone()), false).unwrap();
    let schema = schemas.as_single().unwrap();
    assert_eq!(schema.columns.len(), 2);
    assert_eq!(schema.columns[1].unknown_level, UnknownLevel::Na);
    assert_eq!(schema.columns[1].levels, ["clear", "rain"]);

    let with_script = manifest.schemas(Some(inferred.clone()), true).unwrap();
    assert_eq!(with_script.as_single().unwrap().columns.len(), 1);

    let stranger = Manifest::parse("[columns]\nwether = \"double\"").unwrap();
    assert!(stranger.schemas(Some(inferred), false).unwrap_err().to_string().contains("which has x, weather"));
}

#[test]
fn a_model_of_unknown_columns_takes_what_comes() {
    let schemas = Manifest::default().schemas(None, false).unwrap();
    assert_eq!(schemas.as_single().unwrap().unknown_columns, UnknownColumns::Pass);
}
