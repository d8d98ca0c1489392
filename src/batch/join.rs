//! From listings to partitions: objects whose paths have the same captures
//! belong together. Inputs that have fewer captures, or none, go to every
//! partition that they fit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::digest::sha256_hex;
use super::plan::{MissingKey, Source};
use super::template::Template;

/// Most characters of a partition's id.
const MAX_ID: usize = 160;

/// What one input's listing gave: the values of its captures, and the object.
pub type Listing = Vec<(Vec<String>, Source)>;

/// One input before the join.
#[derive(Debug, Clone)]
pub struct JoinInput {
    /// Its name.
    pub name: String,
    /// Its template.
    pub template: Template,
    /// The objects that match.
    pub objects: Listing,
}

/// A key with everything that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Values by the names of the captures.
    pub key: BTreeMap<String, String>,
    /// Objects by input; broadcast inputs are not among them.
    pub inputs: Vec<(String, Source)>,
}

/// The outcome of a join.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Join {
    /// Complete keys.
    pub complete: Vec<Joined>,
    /// Keys that an input lacks, in order.
    pub missing: Vec<MissingKey>,
    /// Inputs without captures.
    pub broadcast: Vec<(String, Source)>,
}

/// Joins listings on their captures.
///
/// # Errors
/// An input without any object, two objects of one input with one key, or inputs
/// none of which has all the captures.
pub fn join(inputs: Vec<JoinInput>) -> Result<Join, Vec<String>> {
    let mut problems = Vec::new();
    let names: BTreeSet<String> = inputs.iter().flat_map(|input| input.template.names()).map(str::to_owned).collect();
    let (full, partial): (Vec<JoinInput>, Vec<JoinInput>) =
        inputs.into_iter().partition(|input| input.template.names().len() == names.len() && !names.is_empty());
    if full.is_empty() && !names.is_empty() {
        let list: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
        problems
            .push(format!("no input has all of the captures {}, so that nothing ties them together", list.join(", ")));
    }
    let (broadcast, partial): (Vec<_>, Vec<_>) =
        partial.into_iter().partition(|input| input.template.names().is_empty());
    let broadcast: Vec<(String, Source)> = broadcast
        .into_iter()
        .filter_map(|input| match input.objects.into_iter().next() {
            Some((_, source)) => Some((input.name, source)),
            None => {
                problems.push(format!("inputs.{}: there is no {}", input.name, input.template));
                None
            }
        })
        .collect();
    for input in full.iter().chain(&partial).filter(|input| input.objects.is_empty()) {
        problems.push(format!("inputs.{}: nothing matches {}", input.name, input.template));
    }
    let full: Vec<Indexed> = full.into_iter().map(|input| Indexed::new(input, &mut problems)).collect();
    let partial: Vec<Indexed> = partial.into_iter().map(|input| Indexed::new(input, &mut problems)).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    if names.is_empty() {
        // Nothing varies: all inputs together are one partition.
        let complete = vec![Joined { key: BTreeMap::new(), inputs: broadcast }];
        return Ok(Join { complete, missing: Vec::new(), broadcast: Vec::new() });
    }
    let names: Vec<String> = names.into_iter().collect();
    let keys: BTreeSet<&[String]> = full.iter().flat_map(|input| input.objects.keys().map(Vec::as_slice)).collect();
    let mut result = Join { broadcast, ..Join::default() };
    for key in keys {
        let mut lacking = Vec::new();
        let mut found = Vec::with_capacity(full.len() + partial.len());
        for input in full.iter().chain(&partial) {
            let own: Vec<String> =
                input.names.iter().filter_map(|name| Some(key[names.binary_search(name).ok()?].clone())).collect();
            match input.objects.get(&own) {
                Some(source) => found.push((input.name.clone(), source.clone())),
                None => lacking.push(input.name.clone()),
            }
        }
        let key: BTreeMap<String, String> = names.iter().cloned().zip(key.iter().cloned()).collect();
        if lacking.is_empty() {
            result.complete.push(Joined { key, inputs: found });
        } else {
            result.missing.push(MissingKey { partition: partition_id(&key), inputs: lacking });
        }
    }
    Ok(result)
}

/// The objects of one input by key, whose values are in the order of `names`.
struct Indexed {
    name: String,
    /// Names of the captures in alphabetical order.
    names: Vec<String>,
    objects: BTreeMap<Vec<String>, Source>,
}

impl Indexed {
    fn new(input: JoinInput, problems: &mut Vec<String>) -> Self {
        let as_written = input.template.names();
        let mut names: Vec<String> = as_written.iter().map(|name| (*name).to_owned()).collect();
        names.sort_unstable();
        let positions: Vec<usize> =
            names.iter().filter_map(|name| as_written.iter().position(|other| other == name)).collect();
        let mut objects = BTreeMap::new();
        for (values, source) in input.objects {
            let key: Vec<String> = positions.iter().map(|&position| values[position].clone()).collect();
            if let Some(before) = objects.insert(key, source.clone()) {
                problems.push(format!("inputs.{}: {} and {} have the same key", input.name, before.path, source.path));
            }
        }
        Self { name: input.name, names, objects }
    }
}

/// A partition's name within its run: `p=17`, or `day=2026-11-25,p=17`. Whatever is
/// unusual in a path is percent-encoded, and a long one ends in a digest.
pub fn partition_id(key: &BTreeMap<String, String>) -> String {
    if key.is_empty() {
        return "all".to_owned();
    }
    let mut id = String::new();
    for (name, value) in key {
        if !id.is_empty() {
            id.push(',');
        }
        id.push_str(name);
        id.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => id.push(char::from(byte)),
                // Writing to text can't fail.
                _ => _ = write!(id, "~{byte:02X}"),
            }
        }
    }
    if id.len() > MAX_ID {
        let digest = sha256_hex(id.as_bytes());
        id.truncate(MAX_ID - 17);
        id.push('~');
        id.push_str(&digest[..16]);
    }
    id
}

#[cfg(test)]
mod tests;
