//! The table that a person reads.

use super::limit::Limits;
use super::measure::Usage;

/// One command.
pub struct Row {
    /// As a person would call it.
    pub name: &'static str,
    /// What it used.
    pub usage: Usage,
}

/// Prints all rows and the limits below them.
pub fn print(rows: &[Row], limits: &Limits) {
    println!("\n| {:<34} | wall s | CPU s | read MB | written MB | RSS MiB | disk high MB | × its limit |", "");
    println!(
        "|{}|",
        ["-".repeat(36).as_str(), "-------:", "------:", "--------:", "-----------:", "--------:", "-------------:", "------------:"]
            .join("|")
    );
    for Row { name, usage } in rows {
        let limit = match *name {
            "coracle create, cold" | "coracle create, warm" => Some(limits.create()),
            "coracle verify" => Some(limits.sha256),
            _ => None,
        };
        let ratio = limit.map_or_else(|| "–".to_owned(), |limit| format!("{:.2}", usage.wall / limit));
        let (read, written, disk) = (usage.read / 1_000_000, usage.written / 1_000_000, usage.disk / 1_000_000);
        let (wall, cpu, rss) = (usage.wall, usage.cpu, usage.rss >> 20);
        println!("| {name:<34} | {wall:>6.3} | {cpu:>5.2} | {read:>7} | {written:>10} | {rss:>7} | {disk:>12} | {ratio:>11} |");
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
