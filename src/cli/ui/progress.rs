//! Progress: bars on a terminal, a line every few seconds elsewhere, and one line per stage that ended.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::size;
use crate::event::{Event, Stage};

/// Without a terminal: how long a stage may be silent.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Transfers that have a line of their own; more would scroll the terminal.
const TRANSFER_LINES: usize = 8;

/// Draws what the library reports.
pub struct Progress {
    shows: Shows,
    bars: MultiProgress,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    Nothing,
    Lines,
    Bars,
}

#[derive(Default)]
struct State {
    stages: BTreeMap<Stage, Running>,
    transfers: BTreeMap<u64, ProgressBar>,
}

struct Running {
    began: Instant,
    last_line: Instant,
    done: u64,
    total: Option<u64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Stage lines and warnings alone.
    pub fn none() -> Self {
        Self::new(Shows::Nothing)
    }

    /// A line every few seconds.
    pub fn lines() -> Self {
        Self::new(Shows::Lines)
    }

    /// Bars on a terminal.
    pub fn bars() -> Self {
        Self::new(Shows::Bars)
    }

    fn new(shows: Shows) -> Self {
        let bars =
            MultiProgress::with_draw_target(if shows == Shows::Bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        Self { shows, bars, state: Mutex::default() }
    }

    /// A line of talk that does not disturb the bars. Where nobody reads stderr any more there is nobody to tell, and the work goes on.
    pub fn say(&self, text: &str) {
        self.bars.suspend(|| drop(writeln!(std::io::stderr().lock(), "{text}")));
    }

    /// Draws one event.
    pub fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::StageStarted { stage, bytes } => self.begin(&mut state, stage, bytes),
            Event::StageProgress { stage, bytes } => self.advance(&mut state, stage, bytes),
            Event::StageFinished { stage, summary } => self.finish(&mut state, stage, &summary),
            Event::TransferStarted { id, name, bytes } => {
                if self.shows == Shows::Bars && state.transfers.len() < TRANSFER_LINES {
                    let bar = self.bars.insert(0, transfer_bar(&name, bytes));
                    state.transfers.insert(id, bar);
                }
            }
            Event::TransferProgress { id, bytes } => {
                if let Some(bar) = state.transfers.get(&id) {
                    bar.inc(bytes);
                }
            }
            Event::TransferFinished { id } => {
                if let Some(bar) = state.transfers.remove(&id) {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
            }
            Event::Retrying { what, cause, after } => {
                self.say(&format!("  retrying   {what} in {} s: {cause}", after.as_secs_f32().ceil()));
            }
            Event::StepStarted { step } => {
                if let Some(bar) = state.stages.get(&Stage::Apply).and_then(|running| running.bar.as_ref()) {
                    bar.set_message(step);
                }
            }
            Event::StepFinished { step } => self.say(&format!("  done       {step}")),
            Event::Warning { message } => self.say(&format!("warning: {message}")),
        }
    }

    fn begin(&self, state: &mut State, stage: Stage, bytes: Option<u64>) {
        let now = Instant::now();
        let bar = (self.shows == Shows::Bars).then(|| self.bars.add(stage_bar(stage, bytes)));
        state.stages.insert(stage, Running { began: now, last_line: now, done: 0, total: bytes, bar });
    }

    fn advance(&self, state: &mut State, stage: Stage, bytes: u64) {
        let Some(running) = state.stages.get_mut(&stage) else { return };
        running.done += bytes;
        if let Some(bar) = &running.bar {
            bar.inc(bytes);
        } else if self.shows == Shows::Lines && running.last_line.elapsed() >= LINE_EVERY {
            running.last_line = Instant::now();
            let seconds = running.began.elapsed().as_secs().max(1);
            let of = running.total.map(|total| format!(" of {}", size(total))).unwrap_or_default();
            let left = running.total.map(|total| running.total_left(total, seconds)).unwrap_or_default();
            self.say(&format!("  {:<10} {}{of}, {}/s{left}", words(stage).0, size(running.done), size(running.done / seconds)));
        }
    }

    fn finish(&self, state: &mut State, stage: Stage, summary: &str) {
        let Some(running) = state.stages.remove(&stage) else { return };
        if let Some(bar) = running.bar {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        // The command says itself where it wrote what.
        if stage == Stage::Write {
            return;
        }
        self.say(&format!("  {:<10} {summary:<58} {:>6.1} s", words(stage).1, running.began.elapsed().as_secs_f32()));
    }
}

impl Running {
    fn total_left(&self, total: u64, seconds: u64) -> String {
        match (self.done / seconds, total.saturating_sub(self.done)) {
            (0, _) | (_, 0) => String::new(),
            (rate, left) => format!(", {} s left", left.div_ceil(rate)),
        }
    }
}

/// What a stage does, and what it has done.
fn words(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::Resolve => ("resolving", "resolved"),
        Stage::Fetch => ("fetching", "fetched"),
        Stage::Write => ("writing", "wrote"),
        Stage::Verify => ("verifying", "verified"),
        Stage::Facts => ("looking", "looked at"),
        Stage::Stage => ("storing", "stored"),
        Stage::Apply => ("applying", "applied"),
    }
}

fn stage_bar(stage: Stage, bytes: Option<u64>) -> ProgressBar {
    let template = if bytes.is_some() {
        "  {prefix:<10} {bar:28} {binary_bytes:>10} of {binary_total_bytes:<10} {binary_bytes_per_sec:>12}  {eta} left"
    } else {
        "  {prefix:<10} {spinner} {msg} {elapsed}"
    };
    let bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    styled(bar, template).with_prefix(words(stage).0)
}

fn transfer_bar(name: &str, bytes: Option<u64>) -> ProgressBar {
    let bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let short: String = if name.chars().count() > 48 { name.chars().take(47).chain(['…']).collect() } else { name.to_owned() };
    styled(bar, "    {msg:<48} {binary_bytes:>10} of {binary_total_bytes}").with_message(short)
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
