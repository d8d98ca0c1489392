//! What is left of a batch while it is scored: parts whose members share a call, or
//! stand alone.

use std::time::Instant;

use super::super::blame::Losses;
use super::too_late;
use crate::error::Error;
use crate::scoring::dispatcher::refuse_all;
use crate::scoring::queue::Entry;

/// A request on its way to its answer.
pub(super) struct Member {
    pub(super) entry: Entry,
    /// The workers that were lost with it alone.
    pub(super) losses: Losses,
}

/// Members that are scored in one call.
pub(super) struct Part {
    members: Vec<Member>,
    /// How often it was given up for the sake of others.
    round: u32,
}

impl Part {
    /// A whole batch.
    pub(super) fn new(batch: Vec<Entry>) -> Self {
        let members = batch.into_iter().map(|entry| Member { entry, losses: Losses::default() }).collect();
        Self { members, round: 0 }
    }

    /// A member that has to be scored again.
    pub(super) fn again(member: Member, round: u32) -> Self {
        Self { members: vec![member], round }
    }

    /// How often it was given up.
    pub(super) fn round(&self) -> u32 {
        self.round
    }

    /// Tells members whose time is up so, and forgets those whose callers left.
    pub(super) fn drop_the_late(&mut self, now: Instant) {
        let is_late = |member: &mut Member| member.entry.deadline <= now || member.entry.answer.is_closed();
        for member in self.members.extract_if(.., is_late) {
            member.entry.answer(Err(too_late()));
        }
    }

    /// When nobody wants an answer any more; nothing without members.
    pub(super) fn latest_deadline(&self) -> Option<Instant> {
        self.members.iter().map(|member| member.entry.deadline).max()
    }

    /// Answers all members with an error.
    pub(super) fn refuse(self, error: &Error) {
        refuse_all(self.members.into_iter().map(|member| member.entry).collect(), error);
    }

    /// The only member, or the part again.
    pub(super) fn into_single(mut self) -> Result<Member, Self> {
        match self.members.len() {
            1 => self.members.pop().ok_or(self),
            _ => Err(self),
        }
    }

    /// All members, in order.
    pub(super) fn into_members(self) -> Vec<Member> {
        self.members
    }
}

/// Each member alone.
pub(super) fn each(members: Vec<Member>) -> Vec<Part> {
    members.into_iter().map(|member| Part::again(member, 0)).collect()
}

/// The first half of the members and the second.
pub(super) fn halves(mut members: Vec<Member>) -> Vec<Part> {
    let second = members.split_off(members.len() / 2);
    [members, second].map(|members| Part { members, round: 0 }).into()
}
