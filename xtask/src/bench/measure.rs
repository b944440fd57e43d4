//! What one command used, from what the kernel says about its process while it is a zombie.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// How often the peak memory of a child is read: what grows in the last of these before its end is missed.
const SAMPLE: Duration = Duration::from_millis(2);
/// How often the directory is measured.
const DISK: Duration = Duration::from_millis(50);

/// What a command used.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Its exit status was 0.
    pub success: bool,
    /// Seconds.
    pub wall: f64,
    /// Seconds of user and system time, of it and of the children that it waited for.
    pub cpu: f64,
    /// The same of a daemon that worked for it meanwhile.
    pub daemon: f64,
    /// Bytes that its system calls read, from sockets and the page cache too.
    pub read: u64,
    /// Bytes that it caused to be written to the disk.
    pub written: u64,
    /// Bytes of resident memory, at most; of the first process of a pipeline.
    pub rss: u64,
    /// Bytes that its directory took more than before, at most.
    pub disk: u64,
}

impl Usage {
    /// One command after another.
    pub fn then(&mut self, next: &Self) {
        self.success = next.success;
        self.wall += next.wall;
        self.cpu += next.cpu;
        self.daemon += next.daemon;
        self.read += next.read;
        self.written += next.written;
        self.rss = self.rss.max(next.rss);
        self.disk += next.disk;
    }

    /// The one that took less time, for runs on a machine that others use too.
    pub fn better(self, other: Self) -> Self {
        if other.wall < self.wall { other } else { self }
    }
}

/// Runs a command and gives what it used and what it said on stderr; `daemon` is a process that works for it.
pub fn measure(command: &mut Command, directory: &Path, daemon: Option<u32>) -> Result<(Usage, String)> {
    let daemon_before = daemon.map(cpu_of_process).transpose()?;
    let said = tempfile::NamedTempFile::new()?;
    let before = disk_of(directory)?;
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(said.reopen()?).spawn().with_context(|| crate::child::shown(command))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id out of range")?;
    let proc = Path::new("/proc").join(child.id().to_string());
    let mut usage = Usage::default();
    let mut looked = begun;
    let wait = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(pid), wait)?.is_none() {
        // A process that just ended has no memory any more: the peak before stays.
        usage.rss = usage.rss.max(field(&proc.join("status"), "VmHWM:").unwrap_or(0) * 1024);
        if looked.elapsed() > DISK {
            usage.disk = usage.disk.max((disk_of(directory)? + nameless(&proc)).saturating_sub(before));
            looked = Instant::now();
        }
        std::thread::sleep(SAMPLE);
    }
    usage.wall = begun.elapsed().as_secs_f64();
    usage.disk = usage.disk.max(disk_of(directory)?.saturating_sub(before));
    usage.cpu = cpu_of(&proc.join("stat"))?;
    if let (Some(daemon), Some(before)) = (daemon, daemon_before) {
        usage.daemon = cpu_of_process(daemon)? - before;
    }
    usage.read = field(&proc.join("io"), "rchar:").context("no count of bytes read")?;
    usage.written = field(&proc.join("io"), "write_bytes:").context("no count of bytes written")?;
    usage.success = child.wait()?.success();
    let said = crate::file::read(said.path())?;
    Ok((usage, String::from_utf8_lossy(&said).into_owned()))
}

/// The number behind a name in a file of /proc.
fn field(file: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Seconds of user and system time of a process that goes on.
pub fn cpu_of_process(pid: u32) -> Result<f64> {
    cpu_of(&Path::new("/proc").join(pid.to_string()).join("stat"))
}

/// Seconds of user and system time, own and of children that were waited for: fields 14 to 17 of proc(5).
fn cpu_of(file: &Path) -> Result<f64> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let after = text.rsplit_once(')').context("no program's name in stat")?.1;
    let ticks: u32 = after.split_whitespace().skip(11).take(4).filter_map(|number| number.parse::<u32>().ok()).sum();
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second())?;
    Ok(f64::from(ticks) / f64::from(per_second))
}

/// Bytes that the files below a directory take on the disk. What goes away while it is counted counts nothing.
fn disk_of(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| directory.display().to_string()),
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) => bytes += metadata.blocks() * 512,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(bytes)
}

/// Bytes of files that a process has open and that have no name: a temporary file that gets one at the end, or never.
fn nameless(proc: &Path) -> u64 {
    // What ends or is closed meanwhile counts nothing.
    let Ok(open) = std::fs::read_dir(proc.join("fd")) else { return 0 };
    let blocks = open.filter_map(Result::ok).filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let metadata = entry.path().metadata().ok()?;
        (metadata.is_file() && target.to_string_lossy().ends_with(" (deleted)")).then_some((metadata.ino(), metadata.blocks()))
    });
    blocks.collect::<std::collections::BTreeMap<_, _>>().values().sum::<u64>() * 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_a_child_and_its_children_used() {
        let place = tempfile::tempdir().unwrap();
        let script = "dd if=/dev/zero of=file bs=1M count=8 conv=fsync 2>&1; cat file > /dev/null; echo done >&2; exit 3";
        let mut command = crate::child::command("sh");
        let (usage, said) = measure(command.args(["-c", script]).current_dir(place.path()), place.path(), None).unwrap();
        assert_eq!(said, "done\n");
        // A file without a name is seen while it is open.
        let hidden = "exec 9>hidden; rm hidden; head -c 8388608 /dev/zero >&9; sleep 0.3";
        let (seen, _) = measure(crate::child::command("sh").args(["-c", hidden]).current_dir(place.path()), place.path(), None).unwrap();
        assert!(seen.disk >= 8 << 20, "{seen:?}");
        assert!(!usage.success && usage.wall > 0.0 && usage.cpu < 60.0, "{usage:?}");
        assert!(usage.read >= 16 << 20, "dd and cat read 8 MiB each: {usage:?}");
        assert!(usage.disk >= 8 << 20, "{usage:?}");
    }
}
