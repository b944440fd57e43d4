//! The process behind containerd's socket: which unit it is, and whether it has read its configuration since that was changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::{DaemonProcess, Result};
use crate::fs;

/// containerd's configuration.
pub const CONFIGURATION: &str = "/etc/containerd/config.toml";
/// `/proc` counts in this many ticks a second (`sysconf(_SC_CLK_TCK)`, 100 on every platform that is supported).
const TICKS: u64 = 100;
/// `/proc` is exact to a tick or two; a file that is younger than the process by less than this was there when it started.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Looks at the process with this number; what has ended meanwhile is in no unit and has read all.
pub fn process(pid: i32, systemd: bool) -> Result<DaemonProcess> {
    let read = |path: String| match fs::read_to_string(Path::new(&path), 1 << 16) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    };
    let unit = if systemd { read(format!("/proc/{pid}/cgroup"))?.as_deref().and_then(unit) } else { None };
    let age = match (read(format!("/proc/{pid}/stat"))?, read("/proc/uptime".to_owned())?) {
        (Some(stat), Some(uptime)) => age(&stat, &uptime),
        _ => None,
    };
    let changed = fs::metadata_following(Path::new(CONFIGURATION))?.map(|found| {
        // The time of the last change of anything about the file: a copy of an older file has a new one.
        UNIX_EPOCH + Duration::new(found.ctime().unsigned_abs(), u32::try_from(found.ctime_nsec()).unwrap_or(0))
    });
    // A file of the future says that the clock was set back: then nothing is known.
    let file_age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
    let older = age.zip(file_age).is_some_and(|(age, file_age)| age > file_age + TOLERANCE);
    Ok(DaemonProcess { unit, runs_with_older_configuration: older })
}

/// The service in a path of systemd's own hierarchy: `0::/system.slice/containerd.service`, `1:name=systemd:/…`.
fn unit(cgroup: &str) -> Option<String> {
    let path = |line: &'_ str| line.splitn(3, ':').nth(2).map(str::to_owned);
    let of = |prefix: fn(&str) -> bool| cgroup.lines().find(|line| prefix(line)).and_then(path);
    let path = of(|line| line.contains(":name=systemd:")).or_else(|| of(|line| line.starts_with("0::")))?;
    path.split('/').rev().find(|part| part.ends_with(".service")).map(str::to_owned)
}

/// How long a process has run, by `/proc/PID/stat` (field 22, in ticks after the boot) and `/proc/uptime`.
fn age(stat: &str, uptime: &str) -> Option<Duration> {
    // The second field is the program's name in parentheses, and may have spaces in it.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let started = Duration::from_millis(ticks.saturating_mul(1000) / TICKS);
    Some(Duration::try_from_secs_f64(uptime).ok()?.saturating_sub(started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_unit_in_either_kind_of_hierarchy() {
        for (text, expected) in [
            ("0::/system.slice/containerd.service\n", Some("containerd.service")),
            ("12:pids:/system.slice/x.service\n1:name=systemd:/system.slice/k3s.service\n0::/other.service\n", Some("k3s.service")),
            ("0::/system.slice/containerd.service/inner\n", Some("containerd.service")),
            ("0::/user.slice/user-0.slice/session-1.scope\n", None),
            ("", None),
        ] {
            assert_eq!(unit(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_age_of_a_process_is_read_past_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1250 100 1";
        assert_eq!(age(stat, "100.5 3.0\n"), Some(Duration::from_secs(88)));
        assert_eq!(age(stat, "1.0 0\n"), Some(Duration::ZERO));
        assert_eq!(age("7 (a", "1 1"), None);
    }

    #[test]
    fn this_process_has_an_age_and_one_that_is_gone_has_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        process(own, true).unwrap();
        assert_eq!(process(i32::MAX, true).unwrap(), DaemonProcess::default());
    }
}
