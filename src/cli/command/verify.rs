//! `coracle verify`: signature, every blob, closure.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::bundle::trust::SignatureStatus;
use crate::bundle::{self, Limits, Problem, VerifiedBundle};
use crate::cli::report_v1::{self, Blobs, Verification};
use crate::cli::table::{printable, table};
use crate::cli::{Exit, Format, Ui, explain, keys, signatures, size};
use crate::event::{Event, Observer as _};

/// Check a bundle: who signed it, every byte of it, and that nothing is missing
///
/// Signatures beside it (BUNDLE.sigstore.json) count like those inside. Exit status 3 when it is refused.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    #[command(flatten)]
    trust: keys::TrustArgs,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Text, env = "CORACLE_FORMAT")]
    format: Format,
    /// Threads that read and hash; one per core unless said otherwise
    #[arg(long, value_name = "N", env = "CORACLE_JOBS")]
    jobs: Option<NonZeroUsize>,
}

/// Checks and reports.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { bundle: path, trust, format, jobs } = args;
    let policy = trust.policy()?;
    let detached = signatures::beside(&path)?;
    let mut judged = Vec::new();
    let verified = bundle::open(&path, &Limits::FORMAT).and_then(|opened| {
        // A forged signature has no status; `verify` says then what is wrong.
        judged = policy.judge(opened.root(), opened.signatures(), &detached).unwrap_or_default();
        opened.verify(&policy, &detached)
    });
    let bundle = match verified {
        Ok(bundle) => bundle,
        Err(error) => return refuse(error.into(), &path, format, &judged, ui),
    };
    if !bundle.signatures().iter().any(|status| status.trusted) {
        let message = "no trusted key signed this bundle: anybody may have made or changed it".to_owned();
        ui.event(Event::Warning { message });
    }
    let threads = jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let problems = bundle.check_content(threads, ui)?;
    match format {
        Format::Json => ui.print(&report_v1::json(&Verification::of(&bundle, &problems))?)?,
        Format::Text => report(&bundle, &problems, &path, ui)?,
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Refused })
}

/// A refusal before any content was read. For machines it is a result; for people an error.
fn refuse(error: anyhow::Error, path: &Path, format: Format, judged: &[SignatureStatus], ui: &Ui) -> anyhow::Result<Exit> {
    let refused = Exit::Refused;
    if format == Format::Text || explain::explain(&error).exit != refused.code() {
        return Err(error);
    }
    ui.print(&report_v1::json(&Verification::refused(judged, path, &error))?)?;
    Ok(refused)
}

fn report(bundle: &VerifiedBundle, problems: &[Problem], path: &Path, ui: &Ui) -> anyhow::Result<()> {
    let contents = bundle.contents();
    let platforms = contents.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("bundle", format!("{} {}   {platforms}", contents.name, contents.version)),
        row("digest", bundle.root_digest().to_string()),
    ];
    rows.extend(bundle.signatures().iter().map(|status| row("signed by", report_v1::signer(status))));
    let blobs = Blobs::of(bundle);
    let checked = format!("{} blobs, {}", blobs.count, size(blobs.bytes));
    if problems.is_empty() {
        rows.push(row("checked", format!("{checked}: every byte matches the signed root")));
        ui.print(&table(&rows))?;
        ui.say(&format!("next: coracle deploy {}", path.display()));
        return Ok(());
    }
    rows.push(row("checked", format!("{checked}: {} problem(s)", problems.len())));
    ui.print(&table(&rows))?;
    ui.say(&format!("error: refused bundle `{}`", path.display()));
    for problem in problems {
        ui.say(&format!("  on     {}", printable(&problem.member)));
        if !problem.belongs_to.is_empty() {
            ui.say(&format!("  in     {}", printable(&problem.belongs_to.join(", "))));
        }
        ui.say(&format!("  cause  {}", printable(&problem.cause)));
    }
    ui.say("  hint   the file was damaged or altered after signing; copy it again, then run `coracle verify`");
    Ok(())
}
