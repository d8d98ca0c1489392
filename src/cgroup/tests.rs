//! Trees of control groups as kernels and container engines lay them out.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;

use super::*;

const VERSION_2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";

/// A root folder with these files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }
    root
}

fn read(files: &[(&str, &str)]) -> Allowance {
    Allowance::read(tree(files).path())
}

#[test]
fn nothing_is_limited_without_groups() {
    let allowance = read(&[]);
    assert_eq!(allowance, Allowance::default());
    assert_eq!(allowance.cores(8), (8, "of this machine".to_owned()));
    let unlimited = read(&[
        ("proc/self/cgroup", "0::/service"),
        ("proc/self/mountinfo", VERSION_2),
        ("sys/fs/cgroup/service/cpu.max", "max 100000"),
        ("sys/fs/cgroup/service/memory.max", "max"),
    ]);
    assert_eq!(unlimited, Allowance::default());
}

#[test]
fn the_smallest_limit_of_nested_groups_of_version_2_counts() {
    let allowance = read(&[
        ("proc/self/cgroup", "0::/pod/container"),
        ("proc/self/mountinfo", VERSION_2),
        ("sys/fs/cgroup/pod/cpu.max", "250000 100000"),
        ("sys/fs/cgroup/pod/container/cpu.max", "400000 100000"),
        ("sys/fs/cgroup/pod/memory.max", "2147483648"),
        ("sys/fs/cgroup/pod/container/memory.max", "1073741824"),
        ("sys/fs/cgroup/cpuset.cpus.effective", "0-7"),
        ("sys/fs/cgroup/pod/container/cpuset.cpus.effective", "0-2,5"),
    ]);
    assert_eq!(allowance.cpu_quota, Some((2.5, "cpu.max")));
    assert_eq!(allowance.memory, Some((1 << 30, "memory.max")));
    assert_eq!(allowance.cpuset, Some(4));
    assert_eq!(allowance.cores(4), (2, "by cgroup cpu.max".to_owned()));
}

#[test]
fn version_1_has_a_hierarchy_for_each_controller() {
    let allowance = read(&[
        ("proc/self/cgroup", "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n0::/"),
        (
            "proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000"),
        ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "150000"),
        ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000"),
        ("sys/fs/cgroup/cpuset/docker/abc/cpuset.effective_cpus", "1"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
        ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "536870912"),
    ]);
    assert_eq!(allowance.cpu_quota, Some((1.5, "cpu.cfs_quota_us")));
    assert_eq!(allowance.memory, Some((512 << 20, "memory.limit_in_bytes")));
    assert_eq!(allowance.cores(8), (1, "by cgroup cpu.cfs_quota_us".to_owned()));
}

#[test]
fn a_container_that_sees_the_path_of_its_host_uses_what_is_mounted() {
    let allowance = read(&[
        ("proc/self/cgroup", "4:memory:/kubepods/pod1/abc"),
        ("proc/self/mountinfo", "35 31 0:32 /kubepods/pod1/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576"),
    ]);
    assert_eq!(allowance.memory, Some((1 << 20, "memory.limit_in_bytes")));
    let elsewhere = read(&[
        ("proc/self/cgroup", "0::/../other"),
        ("proc/self/mountinfo", VERSION_2),
        ("sys/fs/cgroup/memory.max", "4096"),
    ]);
    assert_eq!(elsewhere.memory, Some((4096, "memory.max")));
}

#[test]
fn less_than_a_core_is_one_worker() {
    let allowance = Allowance { cpu_quota: Some((0.25, "cpu.max")), ..Allowance::default() };
    assert_eq!(allowance.cores(4), (1, "by cgroup cpu.max".to_owned()));
    let set = Allowance { cpuset: Some(3), ..Allowance::default() };
    assert_eq!(set.cores(8), (3, "by cgroup cpuset".to_owned()));
}

#[test]
fn lists_are_counted() {
    assert_eq!(count_list("0-3,7"), Some(5));
    assert_eq!(count_list("2"), Some(1));
    assert_eq!(count_list(""), None);
    assert_eq!(count_list("3-1"), None);
}

#[test]
fn this_machine_can_be_read() {
    let (cores, _) = Allowance::of_this_process().cores(4);
    assert!((1..=4).contains(&cores));
}
