//! A mirror follows its store: what is new, changed, half there, gone.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;

use bytes::Bytes;
use object_store::memory::InMemory;
use tempfile::TempDir;

use super::*;
use crate::store::Location;

struct Scene {
    store: Store,
    folder: TempDir,
    settings: ModelSettings,
}

impl Scene {
    fn new() -> Self {
        let location = Location::parse("az://models/production").unwrap();
        let store = Store::from_object_store(Arc::new(InMemory::new()), location);
        let settings = ModelSettings { settle: Duration::ZERO, ..ModelSettings::default() };
        Self { store, folder: tempfile::tempdir().unwrap(), settings }
    }

    fn mirror(&self) -> Mirror {
        Mirror::open(self.store.clone(), self.folder.path(), &self.settings).unwrap()
    }

    async fn put(&self, path: &str, text: &str) {
        self.store.overwrite(path, Bytes::from(text.to_owned())).await.unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join(path)).ok()
    }
}

async fn round(mirror: &mut Mirror) -> Round {
    mirror.round(|_| {}).await.unwrap()
}

fn keys(keys: &[(&str, u32)]) -> Vec<Key> {
    keys.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
}

#[tokio::test]
async fn a_version_is_fetched_once_it_looks_the_same_twice() {
    let scene = Scene::new();
    let mut mirror = scene.mirror();
    scene.put("boston/1/score.R", "half").await;
    assert_eq!(round(&mut mirror).await.unsettled, keys(&[("boston", 1)]));
    scene.put("boston/1/data/model.rds", "more").await;
    assert_eq!(round(&mut mirror).await.unsettled, keys(&[("boston", 1)]), "it changed meanwhile");
    assert_eq!(round(&mut mirror).await.fetched, keys(&[("boston", 1)]));
    assert_eq!(scene.read("boston/1/score.R").as_deref(), Some("half"));
    assert_eq!(scene.read("boston/1/data/model.rds").as_deref(), Some("more"));
    let idle = round(&mut mirror).await;
    assert!(idle.fetched.is_empty() && idle.unsettled.is_empty());
}

#[tokio::test]
async fn a_marker_completes_a_version_at_once_and_is_not_fetched() {
    let scene = Scene::new();
    let mut mirror = scene.mirror();
    scene.put("boston/1/score.R", "x").await;
    scene.put("boston/1/_SUCCESS", "").await;
    assert_eq!(round(&mut mirror).await.fetched, keys(&[("boston", 1)]));
    assert_eq!(scene.read("boston/1/_SUCCESS"), None);
}

#[tokio::test]
async fn changed_and_removed_versions_follow() {
    let scene = Scene::new();
    let mut mirror = scene.mirror();
    for path in ["boston/1/score.R", "boston/2/score.R"] {
        scene.put(path, "old").await;
    }
    round(&mut mirror).await;
    assert_eq!(round(&mut mirror).await.fetched.len(), 2);
    scene.put("boston/1/score.R", "new").await;
    scene.store.delete("boston/2/score.R").await.unwrap();
    let first = round(&mut mirror).await;
    assert_eq!(first.unsettled, keys(&[("boston", 1), ("boston", 2)]));
    let second = round(&mut mirror).await;
    assert_eq!((second.fetched, second.removed), (keys(&[("boston", 1)]), keys(&[("boston", 2)])));
    assert_eq!(scene.read("boston/1/score.R").as_deref(), Some("new"));
    assert_eq!(scene.read("boston/2/score.R"), None);
}

#[tokio::test]
async fn an_empty_store_ends_no_service() {
    let scene = Scene::new();
    let mut mirror = scene.mirror();
    scene.put("boston/1/score.R", "x").await;
    round(&mut mirror).await;
    round(&mut mirror).await;
    scene.store.delete("boston/1/score.R").await.unwrap();
    for _ in 0..3 {
        let round = round(&mut mirror).await;
        assert!(round.removed.is_empty() && round.ignored[0].contains("are kept"), "{round:?}");
    }
    assert_eq!(scene.read("boston/1/score.R").as_deref(), Some("x"));
}

#[tokio::test]
async fn limits_hold_and_one_version_does_not_stop_others() {
    let mut scene = Scene::new();
    scene.settings.max_version_bytes = 10;
    let mut mirror = scene.mirror();
    scene.put("large/1/model.rds", "more than ten bytes").await;
    // A file and a folder of one name can't be on a disk.
    scene.put("odd/1/a", "x").await;
    scene.put("odd/1/a/b", "x").await;
    scene.put("small/1/score.R", "x").await;
    round(&mut mirror).await;
    let second = round(&mut mirror).await;
    assert_eq!(second.fetched, keys(&[("small", 1)]));
    let failed: Vec<&str> = second.failed.iter().map(|((model, _), _)| model.as_str()).collect();
    assert_eq!(failed, ["large", "odd"]);
    assert!(second.failed[0].1.contains("models.max_version_bytes"), "{:?}", second.failed);
    assert_eq!(fs::read_dir(scene.folder.path().join(".rscore/staging")).unwrap().count(), 0);

    scene.settings.max_files = 3;
    drop(mirror);
    let error = scene.mirror().round(|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("models.max_files"), "{error}");
}

#[tokio::test]
async fn what_is_in_place_is_not_fetched_again_after_a_restart() {
    let scene = Scene::new();
    scene.put("boston/1/score.R", "x").await;
    let mut mirror = scene.mirror();
    round(&mut mirror).await;
    round(&mut mirror).await;
    drop(mirror);
    let mut mirror = scene.mirror();
    assert_eq!(mirror.versions(), 1);
    let again = round(&mut mirror).await;
    assert!(again.fetched.is_empty() && again.unsettled.is_empty());
    assert_eq!(mirror.progress().bytes(), (0, 0));
}
