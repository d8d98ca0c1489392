//! Folders that change, and what is made of it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

const SETTLE: Duration = Duration::from_secs(2);

struct Scene {
    root: tempfile::TempDir,
    watcher: Watcher,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), watcher: Watcher::new(SETTLE), now: Instant::now() }
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What a look finds so much later, as `boston/1` or `-boston/1`.
    fn after(&mut self, pause: Duration) -> Vec<String> {
        self.now += pause;
        let snapshot = look(self.root.path()).unwrap();
        let changes = self.watcher.observe(&snapshot, self.now).into_iter();
        let text = changes.map(|change| match change {
            Change::Load(entry) => format!("{}/{}", entry.model, entry.version),
            Change::Remove((model, version)) => format!("-{model}/{version}"),
        });
        text.collect()
    }
}

#[test]
fn a_version_counts_after_two_looks_that_agree() {
    let mut scene = Scene::new();
    scene.write("boston/1/model.rds", "x");
    assert!(scene.after(Duration::ZERO).is_empty());
    assert!(scene.watcher.is_unsettled());
    assert!(scene.after(SETTLE / 2).is_empty(), "too early");
    assert_eq!(scene.after(SETTLE / 2), ["boston/1"]);
    assert!(!scene.watcher.is_unsettled());
    assert!(scene.after(SETTLE).is_empty(), "it is handed out once");
}

#[test]
fn a_copy_that_goes_on_starts_the_wait_again() {
    let mut scene = Scene::new();
    scene.write("boston/1/model.rds", "x");
    scene.after(Duration::ZERO);
    for length in 2..6 {
        scene.write("boston/1/model.rds", &"x".repeat(length));
        assert!(scene.after(SETTLE).is_empty(), "it grew to {length}");
    }
    scene.write("boston/1/score.R", "y");
    assert!(scene.after(SETTLE).is_empty(), "another file came");
    assert_eq!(scene.after(SETTLE), ["boston/1"]);
}

#[test]
fn an_empty_folder_is_no_version() {
    let mut scene = Scene::new();
    fs::create_dir_all(scene.root.path().join("boston/1/data")).unwrap();
    assert!(scene.after(SETTLE).is_empty());
    assert!(!scene.watcher.is_unsettled());
}

#[test]
fn what_is_written_replaced_or_linked_elsewhere_is_a_change() {
    let mut scene = Scene::new();
    scene.write("elsewhere/a/model.rds", "x");
    scene.write("elsewhere/b/model.rds", "x");
    let root = scene.root.path().to_owned();
    fs::rename(root.join("elsewhere"), root.join(".elsewhere")).unwrap();
    fs::create_dir(root.join("boston")).unwrap();
    symlink("../.elsewhere/a", root.join("boston/1")).unwrap();
    scene.after(Duration::ZERO);
    assert_eq!(scene.after(SETTLE), ["boston/1"]);

    fs::write(root.join(".elsewhere/a/model.rds"), "longer").unwrap();
    scene.after(SETTLE);
    assert_eq!(scene.after(SETTLE), ["boston/1"], "written in place");

    fs::write(root.join(".elsewhere/new"), "longer").unwrap();
    fs::rename(root.join(".elsewhere/new"), root.join(".elsewhere/a/model.rds")).unwrap();
    scene.after(SETTLE);
    assert_eq!(scene.after(SETTLE), ["boston/1"], "replaced by one of the same size");

    symlink("../.elsewhere/b", root.join("boston/.next")).unwrap();
    fs::rename(root.join("boston/.next"), root.join("boston/1")).unwrap();
    scene.after(SETTLE);
    assert_eq!(scene.after(SETTLE), ["boston/1"], "the link leads elsewhere, as on a Kubernetes volume");
}

#[test]
fn a_version_is_gone_when_two_looks_miss_it() {
    let mut scene = Scene::new();
    scene.write("boston/1/model.rds", "x");
    scene.after(Duration::ZERO);
    scene.after(SETTLE);
    let (here, away) = (scene.root.path().join("boston/1"), scene.root.path().join("away"));
    fs::rename(&here, &away).unwrap();
    assert!(scene.after(SETTLE).is_empty());
    fs::rename(&away, &here).unwrap();
    assert!(scene.after(SETTLE).is_empty(), "it came back as it was");
    fs::rename(&here, &away).unwrap();
    scene.after(SETTLE);
    assert_eq!(scene.after(SETTLE), ["-boston/1"]);
    assert!(scene.after(SETTLE).is_empty());
}

#[test]
fn what_was_accepted_or_forgotten_is_kept_in_mind() {
    let mut scene = Scene::new();
    scene.write("boston/1/model.rds", "x");
    let key = ("boston".to_owned(), 1);
    let (_, fingerprint) = look(scene.root.path()).unwrap().versions.remove(&key).unwrap();
    scene.watcher.accept(&key, fingerprint);
    assert!(scene.after(SETTLE).is_empty() && !scene.watcher.is_unsettled());
    scene.watcher.forget(&key);
    scene.after(SETTLE);
    assert_eq!(scene.after(SETTLE), ["boston/1"]);
    assert!(scene.after(SETTLE).is_empty() && !scene.watcher.is_unsettled());
}

#[test]
fn a_version_that_cannot_be_looked_at_stays() {
    let mut scene = Scene::new();
    scene.write("boston/1/model.rds", "x");
    scene.after(SETTLE);
    scene.after(SETTLE);
    symlink("nowhere", scene.root.path().join("boston/1/broken")).unwrap();
    for _ in 0..3 {
        assert!(scene.after(SETTLE).is_empty());
    }
}

#[test]
fn circles_and_masses_are_refused() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("boston/1/a")).unwrap();
    symlink("..", root.path().join("boston/1/a/up")).unwrap();
    fs::create_dir_all(root.path().join("iris/1")).unwrap();
    fs::write(root.path().join("iris/1/model.rds"), "x").unwrap();
    let snapshot = look(root.path()).unwrap();
    assert!(snapshot.unknown[&("boston".to_owned(), 1)].1.contains("folders deep"), "{snapshot:?}");
    assert!(snapshot.versions.contains_key(&("iris".to_owned(), 1)), "the others are looked at all the same");
    fs::remove_file(root.path().join("boston/1/a/up")).unwrap();
    for number in 0..3 {
        fs::write(root.path().join(format!("boston/1/{number}")), "x").unwrap();
    }
    let error = fingerprint_within(&root.path().join("boston/1"), &mut 3).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
}

fn snapshot(contents: &[Option<u8>]) -> Snapshot {
    let versions = contents.iter().zip(1..).filter_map(|(content, version)| {
        let entry = Entry { model: "m".to_owned(), version, directory: format!("m/{version}").into() };
        Some((("m".to_owned(), version), (entry, Fingerprint([(*content)?; 32]))))
    });
    Snapshot { versions: versions.collect(), ..Snapshot::default() }
}

proptest! {
    /// Whatever happened before, two looks after the last change what was handed
    /// out is what is there; and nothing is handed out that was seen only once.
    #[test]
    fn what_was_handed_out_ends_up_as_what_is_there(
        looks in prop::collection::vec(prop::collection::vec(prop::option::of(0u8..3), 3), 1..12),
    ) {
        let mut watcher = Watcher::new(SETTLE);
        let mut served: BTreeMap<Key, Fingerprint> = BTreeMap::new();
        let mut now = Instant::now();
        let mut before = Snapshot::default();
        let last = looks.last().unwrap().clone();
        for contents in looks.into_iter().chain([last.clone(), last.clone()]) {
            now += SETTLE;
            let snapshot = snapshot(&contents);
            for change in watcher.observe(&snapshot, now) {
                match change {
                    Change::Load(entry) => {
                        let key = (entry.model.clone(), entry.version);
                        let (_, fingerprint) = snapshot.versions[&key];
                        prop_assert_eq!(before.versions.get(&key).map(|(_, before)| *before), Some(fingerprint));
                        served.insert(key, fingerprint);
                    }
                    Change::Remove(key) => {
                        prop_assert!(!before.versions.contains_key(&key) && !snapshot.versions.contains_key(&key));
                        prop_assert!(served.remove(&key).is_some(), "it was never handed out");
                    }
                }
            }
            before = snapshot;
        }
        let there: BTreeMap<Key, Fingerprint> =
            before.versions.into_iter().map(|(key, (_, fingerprint))| (key, fingerprint)).collect();
        prop_assert_eq!(served, there);
        prop_assert!(!watcher.is_unsettled());
    }
}
