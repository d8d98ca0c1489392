//! Control groups to start the program in.

use std::fs;
use std::path::PathBuf;

use tokio::process::Command;

/// A control group of version 1 below this process's own; gone with its value.
pub struct Group(PathBuf);

impl Group {
    /// None where the machine has no such groups or keeps them to itself.
    pub fn new(controller: &str, files: &[(&str, &str)]) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let has = fields.next()?.split(',').any(|name| name == controller);
            has.then(|| fields.next().map(str::to_owned))?
        })?;
        let folder =
            PathBuf::from(format!("/sys/fs/cgroup/{controller}{own}")).join(format!("rscore-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).ok()?;
        let group = Self(folder);
        files.iter().try_for_each(|(file, text)| fs::write(group.0.join(file), text)).ok()?;
        Some(group)
    }

    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What was in it may end a moment later; an empty group does no harm.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// The program within the control groups of these folders.
pub fn command(program: &str, folders: &[PathBuf]) -> Command {
    if folders.is_empty() {
        return Command::new(program);
    }
    let enter: String = folders.iter().map(|group| format!("echo $$ > {}/cgroup.procs && ", group.display())).collect();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{enter}exec \"$0\" \"$@\""), program]);
    shell
}
