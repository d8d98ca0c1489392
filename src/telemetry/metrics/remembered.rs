//! Handles of the metrics that every request touches. Finding one by name and
//! labels costs as much as decoding a small body; a thread that has found it
//! once keeps it.

use std::cell::RefCell;

use metrics::{Counter, Histogram};

use super::is_installed;
use super::labels::{Model, Stage};

/// Most handles of a kind that a thread keeps. Beyond, a look through them would
/// cost what it saves; a server with so many models looks them up each time.
const MOST: usize = 64;

/// What is counted of one kind of request.
#[derive(Clone)]
pub(super) struct RequestHandles {
    pub(super) count: Counter,
    pub(super) duration: Histogram,
}

type StageKey = (Stage, Box<str>);

type RequestKey = (&'static str, Option<(Box<str>, u32)>, u16);

thread_local! {
    static STAGES: RefCell<Vec<(StageKey, Histogram)>> = const { RefCell::new(Vec::new()) };
    static REQUESTS: RefCell<Vec<(RequestKey, RequestHandles)>> = const { RefCell::new(Vec::new()) };
}

/// The histogram of a stage of a model's requests.
pub(super) fn stage(stage: Stage, model: &str, find: impl FnOnce() -> Histogram) -> Histogram {
    let is_it = |(at, name): &StageKey| *at == stage && **name == *model;
    STAGES.with_borrow_mut(|known| look_up(known, is_it, || (stage, model.into()), find))
}

/// The handles for answers of a door, for a model version, with a status.
pub(super) fn request(
    door: &'static str,
    model: Option<Model<'_>>,
    status: u16,
    find: impl FnOnce() -> RequestHandles,
) -> RequestHandles {
    let is_it = |(known_door, known_model, known_status): &RequestKey| {
        *known_status == status
            && *known_door == door
            && known_model.as_ref().map(|(name, version)| (&**name, *version)) == model
    };
    let key = || (door, model.map(|(name, version)| (name.into(), version)), status);
    REQUESTS.with_borrow_mut(|known| look_up(known, is_it, key, find))
}

fn look_up<K, H: Clone>(
    known: &mut Vec<(K, H)>,
    is_it: impl Fn(&K) -> bool,
    key: impl FnOnce() -> K,
    find: impl FnOnce() -> H,
) -> H {
    if let Some((_, handle)) = known.iter().find(|(key, _)| is_it(key)) {
        return handle.clone();
    }
    let handle = find();
    // What is found before the recorder is there counts nothing, and is not kept.
    if known.len() < MOST && is_installed() {
        known.push((key(), handle.clone()));
    }
    handle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_once_is_found_again_and_no_more_than_fits_is_kept() {
        super::super::install();
        let mut known = Vec::new();
        let mut searches = 0;
        for round in 0..2 {
            for key in 0..MOST + 10 {
                let found = look_up(
                    &mut known,
                    |known| *known == key,
                    || key,
                    || {
                        searches += 1;
                        10 * key
                    },
                );
                assert_eq!(found, 10 * key, "round {round}");
            }
        }
        assert_eq!((known.len(), searches), (MOST, MOST + 10 + 10));
    }
}
