//! systemd, through `systemctl`: the units of the node registry, and containerd's.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::{Error, Result};
use super::containerd::Containerd;
use crate::command::{self, Command};
use crate::deploy::layout;

/// How long containerd may take until it answers again: it looks through its content first.
const READY: Duration = Duration::from_mins(2);
/// How long systemd may take to stop a service that does not want to, and to start it.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);

fn systemctl(args: &[&str]) -> std::result::Result<Vec<u8>, command::Error> {
    Command::new("systemctl").args(args.iter().copied()).timeout(PATIENCE).run()
}

/// What keeps the node registry from serving now, or after the node's next start; `None` where nothing does.
pub fn what_is_wrong_with_the_registry() -> Result<Option<String>> {
    let properties = "--property=Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload";
    let shown = systemctl(&["show", properties, layout::SOCKET_UNIT, layout::SERVICE_UNIT])?;
    Ok(wrong(&String::from_utf8_lossy(&shown)))
}

/// Reads what `systemctl show` printed: one block a unit.
fn wrong(shown: &str) -> Option<String> {
    shown.split("\n\n").find_map(|block| {
        let properties: BTreeMap<&str, &str> = block.lines().filter_map(|line| line.split_once('=')).collect();
        let of = |name: &str| properties.get(name).copied().unwrap_or_default();
        let unit = of("Id");
        match (of("LoadState"), of("ActiveState"), of("UnitFileState")) {
            ("loaded", "active" | "reloading", "enabled") if of("NeedDaemonReload") == "yes" => {
                Some(format!("{unit} was changed and not loaded again"))
            }
            ("loaded", "active" | "reloading", "enabled") => None,
            ("loaded", "active" | "reloading", state) => Some(format!("{unit} is {state}: it would not start with the node")),
            ("not-found", _, _) => Some(format!("{unit} is not there")),
            ("loaded", state, _) | (state, _, _) => Some(format!("{unit} is {state}")),
        }
    })
}

/// Loads the units again, enables them and starts them anew.
pub fn start_the_registry() -> Result<()> {
    systemctl(&["daemon-reload"])?;
    let start = || {
        systemctl(&["enable", layout::SOCKET_UNIT, layout::SERVICE_UNIT])?;
        // One that failed too often is not started until this is forgotten.
        let state = systemctl(&["show", "--property=ActiveState", "--value", layout::SOCKET_UNIT, layout::SERVICE_UNIT])?;
        if String::from_utf8_lossy(&state).lines().any(|line| line == "failed") {
            systemctl(&["reset-failed", layout::SOCKET_UNIT, layout::SERVICE_UNIT])?;
        }
        systemctl(&["start", layout::SOCKET_UNIT])?;
        systemctl(&["restart", layout::SERVICE_UNIT])
    };
    start().map(drop).map_err(|error| Error::Registry { address: layout::REGISTRY_ADDRESS.to_owned(), cause: error.to_string() })
}

/// Restarts containerd's unit and waits until it answers.
pub fn restart_containerd(unit: &str, address: &Path) -> Result<()> {
    systemctl(&["restart", unit])?;
    let begun = Instant::now();
    loop {
        match Containerd::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > READY => return Err(error.into()),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_keeps_a_unit_from_serving_now_or_after_the_next_start() {
        let block = |id: &str, load: &str, active: &str, file: &str, reload: &str| {
            format!("Id={id}\nLoadState={load}\nActiveState={active}\nUnitFileState={file}\nNeedDaemonReload={reload}\n")
        };
        let socket = block("r.socket", "loaded", "active", "enabled", "no");
        for (service, expected) in [
            (["loaded", "active", "enabled", "no"], None),
            (["loaded", "active", "enabled", "yes"], Some("r.service was changed and not loaded again")),
            (["loaded", "active", "disabled", "no"], Some("r.service is disabled: it would not start with the node")),
            (["loaded", "inactive", "enabled", "no"], Some("r.service is inactive")),
            (["loaded", "failed", "enabled", "no"], Some("r.service is failed")),
            (["not-found", "inactive", "", "no"], Some("r.service is not there")),
            (["masked", "inactive", "masked", "no"], Some("r.service is masked")),
        ] {
            let [load, active, file, reload] = service;
            let shown = format!("{socket}\n{}", block("r.service", load, active, file, reload));
            assert_eq!(wrong(&shown).as_deref(), expected, "{shown}");
        }
    }
}
