//! A job with several inputs, on emulators of blob storage.

use bytes::Bytes;

use crate::support::emulators::Bucket;
use crate::support::job::Job;

const SCRIPT: &str = "score <- function(model, data) {
    level <- mean(data$history$sales) * data$stores$factor[1]
    data.frame(week = data$futurex$week, sales = level + data$futurex$week)
}";

const MANIFEST: &str = "rows_like = \"futurex\"\n\
    [inputs.history]\nsales = \"double\"\n\
    [inputs.futurex]\nweek = \"double\"\n\
    [inputs.stores]\nfactor = \"double\"\n";

async fn forecast(bucket: Bucket) {
    let job = Job::script(SCRIPT, MANIFEST).environment(&bucket.variables);
    let store = bucket.store();
    for product in 1..=3 {
        let put = |path: String, text: String| {
            let store = &store;
            async move { store.overwrite(&path, Bytes::from(text)).await.unwrap() }
        };
        put(format!("history/product{product}.csv"), format!("sales\n{product}\n{}\n", product + 2)).await;
        put(format!("futurex/product{product}.csv"), "week\n10\n20\n".to_owned()).await;
    }
    // A key that one input lacks.
    store.overwrite("history/product9.csv", Bytes::from_static(b"sales\n1\n")).await.unwrap();
    // The bundle lies there as well.
    store.overwrite("models/forecast/1/score.R", Bytes::from(job.read("model/1/score.R"))).await.unwrap();
    store.overwrite("models/forecast/1/rscore.toml", Bytes::from(MANIFEST)).await.unwrap();
    store.overwrite("stores.csv", Bytes::from_static(b"factor\n100\n")).await.unwrap();
    let url = &bucket.url;
    job.describe(&format!(
        "model = \"{url}/models/forecast/1\"\noutput = \"{url}/forecasts/product{{p}}.csv\"\n[inputs]\n\
         history = \"{url}/history/product{{p:int}}.csv\"\nfuturex = \"{url}/futurex/product{{p}}.csv\"\n\
         stores = \"{url}/stores.csv\"\n[partition]\nmissing = \"quarantine\"\n"
    ));
    let (code, said) = job.run(&["--run-id", "r"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("p=9: not in futurex"), "{said}");
    assert!(said.contains("6 read = 6 written"), "{said}");
    for product in 1..=3 {
        let (_, bytes) = store.get(&format!("forecasts/product{product}.csv"), 1000).await.unwrap();
        let level = (product + 1) * 100;
        assert_eq!(bytes, format!("week,sales\n10.0,{}.0\n20.0,{}.0\n", level + 10, level + 20));
    }
    // Everything is there, so that nothing is done again.
    let (code, said) = job.run(&["--run-id", "r", "--resume"]).await;
    assert_eq!(code, 0, "{said}");
    let run = format!("{url}/forecasts/_rscore/runs/r");
    let status = job.batch(&["status", &run]).await;
    assert!(String::from_utf8_lossy(&status.stdout).contains("succeeded, 3 of 3"), "{status:?}");
}

#[tokio::test]
async fn on_azure() {
    forecast(Bucket::azure().await).await;
}

#[tokio::test]
async fn on_s3() {
    forecast(Bucket::s3().await).await;
}
