//! `coracle deploy`: plan, ask, apply.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;

use super::deploy_plan;
use crate::bundle::{self, Limits, VerifiedBundle};
use crate::cli::keys::TrustArgs;
use crate::cli::{Exit, Format, Ui, signatures};
use crate::deploy::bundle::{BundleBlobs, Error as BundleError, plan_bundle};
use crate::deploy::host::Host;
use crate::deploy::host::linux::LinuxHost;
use crate::deploy::options::{Downgrade, OnDrift, Options};
use crate::deploy::plan::{self, DeployPlan};
use crate::deploy::{apply, layout};
use crate::fs;
use crate::types::{ComponentName, ImageReference, VariableName};

/// Deploy a bundle on this node
///
/// Verifies it, looks at the node, prints what would change, asks, and does it. A second run changes nothing; a run that was
/// interrupted anywhere is continued by the same command.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a person types")]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
    /// Print the plan and stop
    #[arg(long)]
    plan: bool,
    /// With --plan: exit with status 4 where there are changes
    #[arg(long, requires = "plan")]
    exit_code: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "plan")]
    yes: bool,
    /// What this node is, for a package that has roles; remembered
    #[arg(long, env = "CORACLE_ROLE")]
    role: Option<String>,
    /// A variable's value; remembered unless it is sensitive
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(VariableName, String)>,
    /// Values from a YAML file: a map of names to values
    #[arg(long, value_name = "FILE", env = "CORACLE_VARS")]
    vars: Option<PathBuf>,
    /// Deploy this optional component as well; remembered
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    with: Vec<ComponentName>,
    /// Leave this component out; remembered
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    without: Vec<ComponentName>,
    /// Touch these components alone, and remove nothing
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    only: Vec<ComponentName>,
    /// Deploy into this directory: files alone, no services, no containerd
    #[arg(long, value_name = "DIR", env = "CORACLE_ROOT")]
    root: Option<PathBuf>,
    /// What happens to files that were changed by hand
    #[arg(long, value_enum, default_value_t = DriftArg::Refuse)]
    on_drift: DriftArg,
    /// Deploy although the node has a newer version
    #[arg(long)]
    allow_downgrade: bool,
    /// Let this image's tag, which stands for something else on this node, stand for the package's image
    #[arg(long, value_name = "REF")]
    move_tag: Vec<ImageReference>,
    /// containerd's socket; without it the first usual one that is there
    #[arg(long, value_name = "SOCKET", env = "CORACLE_CONTAINERD_ADDRESS")]
    containerd_address: Option<PathBuf>,
    /// How the plan is printed
    #[arg(long, value_enum, default_value_t = Format::Text, env = "CORACLE_FORMAT")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DriftArg {
    /// Show the differences and change nothing
    Refuse,
    /// Leave those files as they are
    Keep,
    /// Make them what the package says; what they held is kept
    Overwrite,
}

/// Nobody can be asked, and nothing was said.
#[derive(Debug, thiserror::Error)]
#[error("there are changes to confirm, and no terminal to ask on")]
pub struct NobodyToAsk;

fn assignment(text: &str) -> Result<(VariableName, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.parse().map_err(|error: crate::types::InvalidName| error.to_string())?, value.to_owned()))
}

/// Deploys.
pub fn run(args: &Args, ui: &Ui) -> anyhow::Result<Exit> {
    let mut options = options(args)?;
    let bundle = open_verified(&args.bundle, &args.trust)?;
    let host: Box<dyn Host> = match &args.root {
        Some(root) => Box::new(LinuxHost::directory_to_be(root)?),
        None => Box::new(LinuxHost::node(args.containerd_address.clone())),
    };
    // Who said --yes has the lock from before the node is looked at. Who is asked has nothing made before the answer: the node is
    // looked at again then, under the lock, and asked about again where that shows something else.
    let lock = || -> anyhow::Result<_> {
        if let Some(root) = &args.root {
            fs::create_dir_all(root)?;
        }
        Ok(apply::lock(host.as_ref(), &holder(&args.bundle))?)
    };
    let mut held = if args.yes { Some(lock()?) } else { None };
    let mut plan = plan_asking(&bundle, host.as_ref(), &mut options, ui)?;
    show(&plan, args.format, ui)?;
    if args.plan {
        return Ok(if args.exit_code && !plan.is_empty() { Exit::Differs } else { Exit::Done });
    }
    if !plan.is_empty() && !args.yes && !ui.can_ask() {
        return Err(NobodyToAsk.into());
    }
    let mut agreed = args.yes;
    while !plan.is_empty() && !agreed {
        if !ui.ask("Do this?")? {
            ui.say("nothing was changed");
            return Ok(Exit::Done);
        }
        if held.is_none() {
            held = Some(lock()?);
        }
        let now = plan_asking(&bundle, host.as_ref(), &mut options, ui)?;
        agreed = now.is_the_same_work(&plan);
        plan = now;
        if !agreed {
            ui.say("the node changed meanwhile; this is what would be done now:");
            show(&plan, args.format, ui)?;
        }
    }
    if plan.is_empty() {
        return Ok(Exit::Done);
    }
    let (name, version, changes) = (plan.package.clone(), plan.version.clone(), plan.steps.len());
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let receipt = apply::apply(plan, &BundleBlobs { bundle: &bundle, threads }, host.as_ref(), at, ui)?;
    let root = args.root.as_ref().map(|root| format!(" --root {}", root.display())).unwrap_or_default();
    ui.say(&format!("  deployed  {name} {version}   {changes} changes, receipt {}", layout::receipt(&name).display()));
    let image = receipt.images.keys().next().filter(|_| args.root.is_none());
    let pull =
        image.map(|image| format!("; images are at {}/{}", layout::REGISTRY_ADDRESS, image.mirrored_repository())).unwrap_or_default();
    ui.say(&format!("next: coracle status{root}{pull}"));
    Ok(Exit::Done)
}

fn show(plan: &DeployPlan, format: Format, ui: &Ui) -> anyhow::Result<()> {
    ui.print(&match format {
        Format::Text => plan.to_string(),
        Format::Json => deploy_plan::json(plan),
    })
}

/// Opens a bundle and has its signatures judged, those beside it included.
pub fn open_verified(path: &Path, trust: &TrustArgs) -> anyhow::Result<VerifiedBundle> {
    let detached = signatures::beside(path)?;
    Ok(bundle::open(path, &Limits::default())?.verify(&trust.policy()?, &detached)?)
}

fn options(args: &Args) -> anyhow::Result<Options> {
    let mut set = match &args.vars {
        Some(path) => deploy_plan::read_vars(path)?,
        None => BTreeMap::new(),
    };
    set.extend(args.set.iter().cloned());
    Ok(Options {
        role: args.role.clone(),
        set,
        with: args.with.iter().cloned().collect(),
        without: args.without.iter().cloned().collect(),
        only: args.only.iter().cloned().collect(),
        on_drift: match args.on_drift {
            DriftArg::Refuse => OnDrift::Refuse,
            DriftArg::Keep => OnDrift::Keep,
            DriftArg::Overwrite => OnDrift::Overwrite,
        },
        downgrade: if args.allow_downgrade { Downgrade::Allow } else { Downgrade::Refuse },
        move_tags: args.move_tag.iter().cloned().collect(),
        running_program: std::env::current_exe().ok(),
    })
}

/// Plans; values that are missing are asked for where there is somebody to ask.
fn plan_asking(bundle: &VerifiedBundle, host: &dyn Host, options: &mut Options, ui: &Ui) -> anyhow::Result<DeployPlan> {
    loop {
        match plan_bundle(bundle, host, options) {
            Ok((plan, _)) => return Ok(plan),
            Err(BundleError::Plan(plan::Error::VariablesNeeded { names })) if ui.can_ask() => {
                for name in names {
                    let variable = bundle.contents().variables.get(&name).cloned().unwrap_or_default();
                    let example = variable.example.as_ref().map(|example| format!(", such as {example}")).unwrap_or_default();
                    let question = format!("{name} ({}{example}): ", variable.description);
                    let value = if variable.sensitive { rpassword::prompt_password(question)? } else { ui.ask_line(&question)? };
                    options.set.insert(name, value);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn holder(bundle: &Path) -> String {
    format!("process {}, coracle deploy {}", std::process::id(), bundle.display())
}
