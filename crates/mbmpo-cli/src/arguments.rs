use clap::{Args, Parser, Subcommand};
use mbmpo_experiments::{
    AlgorithmKind, DeviceKind, EnvironmentChoice, InstructionChoice, OnNan, Result, RobotFiles,
    Safety, Selection, Variant, preset,
};
use std::path::PathBuf;
use std::thread::available_parallelism;

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    the run failed: a number was not finite, the simulation diverged, a check failed
  2    an argument or a file is wrong, or a run directory is in use
  3    a file could not be written; the checkpoint before it is unchanged
  130  stopped by Ctrl-C (SIGINT) and saved, 143 by SIGTERM; --resume goes on";

/// Model-based reinforcement learning via meta-policy optimisation (MB-MPO)
#[derive(Debug, Parser)]
#[command(name = "mbmpo", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Learn to act in an environment, or with a robot of your own
    Train(TrainArguments),
    /// Measure the policy of a run
    Evaluate(EvaluateArguments),
    /// Fine-tune the policy of a run on the real environment, by vanilla policy gradient, beside
    /// one from scratch
    Adapt(AdaptArguments),
    /// Learning curves of runs side by side, and the real steps that each algorithm needed
    Compare(CompareArguments),
    /// Environments
    #[command(subcommand)]
    Env(EnvCommand),
    /// Hyper-parameters
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
pub enum EnvCommand {
    /// All environments and their sizes
    List,
    /// Check that an environment, or a robot of your own, is deterministic, finite and consistent
    /// with its task
    Check(CheckArguments),
    /// Draw a robot at rest and in motion, as SVG
    Show(ShowArguments),
}

/// The environment.
#[derive(Debug, Args)]
pub struct EnvironmentArguments {
    /// Environment, see `mbmpo env list`
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,

    /// A robot of your own, in MJCF; see docs/your-own-robot.md
    #[arg(
        long,
        value_name = "FILE.xml",
        requires = "task",
        conflicts_with = "environment"
    )]
    pub robot: Option<PathBuf>,

    /// Its task, in RON
    #[arg(long, value_name = "FILE.ron", requires = "robot")]
    pub task: Option<PathBuf>,
}

impl EnvironmentArguments {
    pub fn choice(&self) -> EnvironmentChoice {
        match (&self.environment, &self.robot, &self.task) {
            (Some(name), ..) => EnvironmentChoice::Name(name.clone()),
            (None, Some(robot), Some(task)) => EnvironmentChoice::Files(RobotFiles {
                robot: robot.clone(),
                task: task.clone(),
            }),
            _ => EnvironmentChoice::OfPreset,
        }
    }
}

fn variant_help() -> String {
    let names = Variant::ALL.map(|variant| variant.to_string()).join(", ");
    format!("The source to follow where sources differ: {names}")
}

#[derive(Debug, Args)]
pub struct CheckArguments {
    #[command(flatten)]
    pub environment: EnvironmentArguments,

    #[arg(long, default_value_t = Variant::Paper, conflicts_with = "robot", help = variant_help())]
    pub variant: Variant,
}

#[derive(Debug, Args)]
pub struct ShowArguments {
    #[command(flatten)]
    pub environment: EnvironmentArguments,

    /// Act with the policy of this run, in its environment, instead of at random
    #[arg(long, value_name = "RUN", conflicts_with_all = ["environment", "robot", "task", "variant"])]
    pub run: Option<PathBuf>,

    #[arg(long, default_value_t = Variant::Paper, conflicts_with = "robot", help = variant_help())]
    pub variant: Variant,

    /// Length of the rollout [control steps], unless the episode ends before
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub steps: u32,

    /// Moments of the rollout to draw side by side
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub frames: u32,

    /// Decides the first state and the actions
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Directory for ENV.svg and ENV-rollout.svg
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print a configuration; without --set with the source of every value
    Show(ConfigArguments),
}

/// The environment and the hyper-parameters.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    #[command(flatten)]
    pub environment: EnvironmentArguments,

    #[arg(long, value_name = "NAME", help = algorithm_help())]
    pub algorithm: Option<AlgorithmKind>,

    #[arg(long, value_name = "NAME|FILE.ron", help = preset_help())]
    pub preset: Option<String>,

    /// Change a value, for example --set algorithm.meta_steps=10
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub overrides: Vec<String>,
}

fn algorithm_help() -> String {
    let names = AlgorithmKind::ALL.map(AlgorithmKind::name).join(", ");
    let default = AlgorithmKind::default();
    format!("Algorithm: {names} [default: {default}]")
}

/// The presets of each algorithm; algorithms with the same ones share an entry.
fn preset_help() -> String {
    let mut groups: Vec<(Vec<&str>, String)> = Vec::new();
    for algorithm in AlgorithmKind::ALL {
        let presets = preset::names(algorithm).join(", ");
        match groups.iter_mut().find(|(_, known)| *known == presets) {
            Some((algorithms, _)) => algorithms.push(algorithm.name()),
            None => groups.push((vec![algorithm.name()], presets)),
        }
    }
    let groups = groups.iter().map(|(algorithms, presets)| {
        let algorithms = algorithms.join(", ");
        format!("of {algorithms}: {presets}")
    });
    let groups: Vec<_> = groups.collect();
    format!(
        "Hyper-parameters, {}; or the path of a RON file (quick: minutes; paper: the paper's text; authors: how they ran \
         it; tuned: settings that are known to learn) [default: the first]",
        groups.join("; ")
    )
}

impl ConfigArguments {
    pub fn selection(&self) -> Selection {
        Selection {
            algorithm: self.algorithm,
            preset: self.preset.clone(),
        }
    }
}

/// Checkpoints, resumption, and the reaction to numbers that are not finite.
#[derive(Debug, Args)]
pub struct SafetyArguments {
    /// Go on from the latest checkpoint of this run; begin it where there is none
    #[arg(long)]
    pub resume: bool,

    /// When a number is not finite or the simulation diverges: stop, or rollback to the iteration
    /// before and try again with other random numbers
    #[arg(long, default_value_t = OnNan::Stop)]
    pub on_nan: OnNan,

    /// Seconds between two checkpoints, 0 for one after every part of an iteration [default: one
    /// after every iteration, and every minute within a long one, unless that would take more than
    /// 2 % of the time]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub checkpoint_seconds: Option<f64>,
}

impl SafetyArguments {
    pub fn safety(&self) -> Safety {
        Safety {
            on_nan: self.on_nan,
            checkpoint_seconds: self.checkpoint_seconds,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if (0.0..=1e9).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("allowed is 0 to 1e9".to_owned())
    }
}

/// The arguments that all commands that run an algorithm share.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Decides every random number
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    #[arg(long, default_value_t = DeviceKind::Cpu, help = device_help())]
    pub device: DeviceKind,

    /// Number of threads; on the cpu device it does not change the results [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    #[arg(
        long,
        value_name = "SET",
        default_value_t = InstructionChoice::Auto,
        help = instructions_help()
    )]
    pub instructions: InstructionChoice,

    #[command(flatten)]
    pub safety: SafetyArguments,

    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

impl RunArguments {
    /// Number of threads.
    pub fn threads(&self) -> usize {
        let cores = || available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, usize::from)
    }

    /// Requires that the device exists, and selects the instructions.
    pub fn prepare(&self) -> Result<()> {
        self.device.device()?;
        self.instructions.select()
    }
}

fn device_help() -> String {
    let names = DeviceKind::ALL.map(DeviceKind::name).join(", ");
    format!("Backend of the tensors: {names}")
}

fn instructions_help() -> String {
    let [auto, sets @ ..] = InstructionChoice::ALL.map(InstructionChoice::name);
    let sets = sets.join(", ");
    format!(
        "Instructions of the cpu device: {auto} (the fastest), {sets}; they change only the speed"
    )
}

#[derive(Debug, Args)]
pub struct TrainArguments {
    #[command(flatten)]
    pub config: ConfigArguments,

    /// Directory of the run [default: runs/ENV-PRESET-seedN]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    pub run: RunArguments,
}

#[derive(Debug, Args)]
pub struct AdaptArguments {
    /// Directory of a run
    #[arg(value_name = "RUN")]
    pub trained: PathBuf,

    /// Another run in the same environment whose policy is fine-tuned, too; may be given again
    #[arg(long, value_name = "RUN")]
    pub beside: Vec<PathBuf>,

    /// Real steps for each policy [default: 40000]
    #[arg(long)]
    pub steps: Option<usize>,

    /// Change the environment or a setting, for example --set env.physics.mass.torso=1.5 --set
    /// algorithm.learning_rate=0.05
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub overrides: Vec<String>,

    /// Directory of the results [default: runs/RUN-adapted-seedN]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    pub run: RunArguments,
}

#[derive(Debug, Args)]
pub struct CompareArguments {
    /// Directories of runs; the seeds of an algorithm form a group
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,

    /// Directory for ENV.svg, a figure for each environment [default: none is drawn]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct EvaluateArguments {
    /// Directory of a run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,

    /// Number of real episodes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub episodes: u32,

    /// Decides every random number
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}
