//! The table that a person reads.

use super::limit::Limits;
use super::measure::Usage;

/// One command.
pub struct Row {
    /// As a person would call it.
    pub name: String,
    /// What it used.
    pub usage: Usage,
    /// Seconds that the machine takes at least for the same.
    pub limit: Option<f64>,
    /// The name of the row that does the same.
    pub peer: Option<&'static str>,
}

impl Row {
    /// A row that is compared with nothing.
    pub fn new(name: impl Into<String>, usage: Usage) -> Self {
        Self { name: name.into(), usage, limit: None, peer: None }
    }

    /// The same beside a limit.
    pub fn within(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The same beside the row of that name.
    pub fn against(self, peer: &'static str) -> Self {
        Self { peer: Some(peer), ..self }
    }
}

const COLUMNS: [&str; 10] =
    ["", "wall s", "CPU s", "daemon CPU s", "read MB", "written MB", "RSS MiB", "disk high MB", "× its limit", "peer ÷ ours: wall, CPU"];

/// Prints all rows and the limits below them.
pub fn print(rows: &[Row], limits: &Limits) {
    println!("\n| {} |", COLUMNS.join(" | "));
    println!("|---|{}", "--:|".repeat(COLUMNS.len() - 1));
    for row in rows {
        println!("| {} |", cells(row, rows).join(" | "));
    }
    println!(
        "limits, all cores: SHA-256 of everything {:.2} s · zstd -3 of what is compressible {:.2} s · read, warm {:.2} s · write + fsync of a bundle {:.2} s · so create {:.2} s",
        limits.sha256,
        limits.zstd,
        limits.read,
        limits.write,
        limits.create()
    );
}

fn cells(row: &Row, rows: &[Row]) -> Vec<String> {
    let Row { name, usage, limit, peer } = row;
    let none = || "–".to_owned();
    let peer = peer.and_then(|name| rows.iter().find(|row| row.name == name)).map(|row| &row.usage);
    vec![
        name.clone(),
        format!("{:.3}", usage.wall),
        format!("{:.2}", usage.cpu),
        if usage.daemon > 0.0 { format!("{:.2}", usage.daemon) } else { none() },
        (usage.read / 1_000_000).to_string(),
        (usage.written / 1_000_000).to_string(),
        (usage.rss >> 20).to_string(),
        (usage.disk / 1_000_000).to_string(),
        limit.map_or_else(none, |limit| format!("{:.2}", usage.wall / limit)),
        peer.map_or_else(none, |peer| {
            format!("{:.1}, {:.1}", peer.wall / usage.wall, (peer.cpu + peer.daemon) / (usage.cpu + usage.daemon))
        }),
    ]
}
