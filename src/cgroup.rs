//! What the control groups of this process allow it: cores and memory, of both
//! versions of the interface, the smallest limit on the way from the process's
//! own group to the root. All functions are given the root folder of the file
//! system, so that tests can bring their own.
//!
//! Sources: the kernel's `admin-guide/cgroup-v2.rst` and `cgroup-v1/`, cgroups(7),
//! proc(5) for `/proc/PID/cgroup` and `/proc/PID/mountinfo`.

use std::fs;
use std::path::{Path, PathBuf};

/// Limits of version 1 above this are no limit: the kernel's default is the
/// largest multiple of a page below 2^63.
const NO_LIMIT: u64 = 1 << 60;

/// What this process may use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Allowance {
    /// Processor time, in cores, and the file that says so.
    pub cpu_quota: Option<(f64, &'static str)>,
    /// Cores that the process may run on, where that is fewer than there are.
    pub cpuset: Option<usize>,
    /// Bytes of memory and the file that says so.
    pub memory: Option<(u64, &'static str)>,
}

impl Allowance {
    /// What this process may use on this machine.
    pub fn of_this_process() -> Self {
        Self::read(Path::new("/"))
    }

    /// What a process may use whose `/proc/self` and control groups lie below `root`.
    pub fn read(root: &Path) -> Self {
        let groups = Groups::read(root);
        let mut allowance = Self::default();
        for folder in groups.folders("cpu") {
            allowance.limit_cpu(&folder);
        }
        for folder in groups.folders("cpuset") {
            allowance.limit_cpuset(&folder);
        }
        for folder in groups.folders("memory") {
            allowance.limit_memory(&folder);
        }
        allowance
    }

    /// Cores that R computations can keep busy, of so many that the process may run
    /// on; and why so few, in words.
    pub fn cores(&self, available: usize) -> (usize, String) {
        let mut cores = (available, "of this machine".to_owned());
        if let Some(set) = self.cpuset
            && set <= cores.0
        {
            cores = (set, "by cgroup cpuset".to_owned());
        }
        if let Some((quota, file)) = self.cpu_quota {
            // A part of a core is left to the front end.
            let whole = (quota as usize).max(1);
            if whole <= cores.0 {
                cores = (whole, format!("by cgroup {file}"));
            }
        }
        cores
    }

    fn limit_cpu(&mut self, folder: &Path) {
        let of_version_2 = read_text(&folder.join("cpu.max")).and_then(|text| {
            let (quota, period) = text.split_once(' ')?;
            Some((quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?, "cpu.max"))
        });
        let of_version_1 = || {
            let quota: f64 = read_text(&folder.join("cpu.cfs_quota_us"))?.parse().ok()?;
            let period: f64 = read_text(&folder.join("cpu.cfs_period_us"))?.parse().ok()?;
            Some((quota / period, "cpu.cfs_quota_us"))
        };
        // A quota of -1 is none.
        if let Some((cores, file)) = of_version_2.or_else(of_version_1).filter(|(cores, _)| *cores > 0.0)
            && self.cpu_quota.is_none_or(|(least, _)| cores < least)
        {
            self.cpu_quota = Some((cores, file));
        }
    }

    fn limit_cpuset(&mut self, folder: &Path) {
        let files = ["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"];
        let cores = files.iter().find_map(|file| count_list(&read_text(&folder.join(file))?));
        if let Some(cores) = cores
            && self.cpuset.is_none_or(|least| cores < least)
        {
            self.cpuset = Some(cores);
        }
    }

    fn limit_memory(&mut self, folder: &Path) {
        for file in ["memory.max", "memory.limit_in_bytes"] {
            let bytes = read_text(&folder.join(file)).and_then(|text| text.parse::<u64>().ok());
            if let Some(bytes) = bytes.filter(|bytes| *bytes < NO_LIMIT)
                && self.memory.is_none_or(|(least, _)| bytes < least)
            {
                self.memory = Some((bytes, file));
            }
        }
    }
}

/// The groups of a process and where their folders are.
struct Groups {
    root: PathBuf,
    /// Controllers and path of each hierarchy; no controllers for version 2.
    memberships: Vec<(Vec<String>, PathBuf)>,
    mounts: Vec<Mount>,
}

/// A mounted hierarchy.
struct Mount {
    /// The folder of the hierarchy that is seen at `point`.
    top: PathBuf,
    point: PathBuf,
    /// None for version 2, which has all.
    controllers: Option<Vec<String>>,
}

impl Groups {
    fn read(root: &Path) -> Self {
        let memberships = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
        Self {
            root: root.to_owned(),
            memberships: memberships.lines().filter_map(parse_membership).collect(),
            mounts: mounts.lines().filter_map(parse_mount).collect(),
        }
    }

    /// The folders that may limit a controller, from the process's own group up.
    fn folders(&self, controller: &str) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for (controllers, path) in &self.memberships {
            let is_version_2 = controllers.is_empty();
            if !is_version_2 && !controllers.iter().any(|name| name == controller) {
                continue;
            }
            let Some(mount) = self.mounts.iter().find(|mount| match &mount.controllers {
                None => is_version_2,
                Some(mounted) => !is_version_2 && mounted.iter().any(|name| name == controller),
            }) else {
                continue;
            };
            let point = self.root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
            // In a container the path may be that of the host, of which only the
            // process's own group is mounted.
            let below = path.strip_prefix(&mount.top).unwrap_or(Path::new(""));
            folders.extend(below.ancestors().map(|below| point.join(below)));
        }
        folders
    }
}

/// `4:memory:/path`, or `0::/path` for version 2.
fn parse_membership(line: &str) -> Option<(Vec<String>, PathBuf)> {
    let mut fields = line.splitn(3, ':').skip(1);
    let controllers = fields.next()?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some((controllers, PathBuf::from(fields.next()?)))
}

/// `35 31 0:32 /top /point options - type source options`.
fn parse_mount(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (top, point) = (PathBuf::from(place.next()?), PathBuf::from(place.next()?));
    let mut kind = kind.split(' ');
    let controllers = match kind.next()? {
        "cgroup2" => None,
        "cgroup" => Some(kind.nth(1)?.split(',').map(str::to_owned).collect()),
        _ => return None,
    };
    Some(Mount { top, point, controllers })
}

/// How many numbers a list such as `0-3,7` has; none when it is empty.
fn count_list(text: &str) -> Option<usize> {
    let mut count = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        count += last.checked_sub(first)? + 1;
    }
    Some(count)
}

fn read_text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests;
