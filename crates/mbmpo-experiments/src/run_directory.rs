use crate::checkpoint::{Checkpoints, Digest, FORMAT, Manifest, Position};
use crate::difference::{difference, without_budget};
use crate::disk::{Disk, RealDisk, read, temporary};
use crate::lock::Lock;
use crate::{
    Error, ExperimentConfig, Result, RobotFiles, RunInfo, Status, learning_curve, preset, text,
};
use mbmpo_core::{Checked, Environment, IterationMetrics, Persist, State};
use mbmpo_policy::TrainedPolicy;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const CONFIG: &str = "config.ron";
const INFO: &str = "run.json";
const METRICS: &str = "metrics.jsonl";
const POLICY: &str = "policy.safetensors";
const CURVE: &str = "learning_curve.svg";
const ROBOT: &str = "robot.xml";
const TASK: &str = "task.ron";
const CHECKPOINTS: &str = "checkpoints";

/// The directory of a run: `config.ron` (resolved), `run.json`, and, after each iteration, `metrics.jsonl`,
/// `policy.safetensors` and `learning_curve.svg`; in `checkpoints` what it takes to go on from where it was saved, see
/// [`checkpoint`](crate::checkpoint). With a robot of one's own also `robot.xml` and `task.ron`, copies of its files as they
/// were when the run began, which the run uses. One process at a time has it.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    info: RunInfo,
    metrics: File,
    /// Of what is in it.
    written: blake3::Hasher,
    history: Vec<IterationMetrics>,
    position: Position,
    /// Of what decides about the numbers of the run.
    run: Digest,
    checkpoints: Checkpoints,
    pace: Pace,
    /// How the run was doing when it was taken up.
    was: Status,
    /// For `config.ron`, once it is clear that the run goes on.
    config: String,
    _lock: Lock,
}

/// When to save.
#[derive(Debug)]
struct Pace {
    last: Instant,
    /// How long it took the last time.
    cost: Duration,
}

/// Millions of iterations.
const LARGEST_METRICS: u64 = 4 << 30;

/// The largest networks that a configuration may ask for.
const LARGEST_POLICY: u64 = 2 << 30;

/// Saving takes less than a fiftieth of the time.
const PACE: u32 = 49;

/// Within an iteration.
const LONGEST_WITHOUT: Duration = Duration::from_secs(60);

impl RunDirectory {
    /// Makes the directory and writes what is known before the run. Without `path` it becomes
    /// `runs/ENVIRONMENT-PRESET-seedSEED`, with a number behind it where that is taken.
    ///
    /// # Errors
    /// When the directory has a run in it, is in use, or cannot be written to.
    pub fn create(
        path: Option<&Path>,
        config: &Checked<ExperimentConfig>,
        info: RunInfo,
    ) -> Result<Self> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => free_path(&info.label()),
        };
        if let Some(found) = found_in(&path) {
            return Err(Error::RunExists {
                path,
                found: found.to_owned(),
            });
        }
        Self::begin(path, config, info, true)
    }

    /// Takes up the run that is in the directory where it was saved, or makes one where there is none. Without `path` it
    /// is the latest of the names that [`Self::create`] gives.
    ///
    /// # Errors
    /// When the run there was made with another configuration (but for the budget of real steps), seed or device, is in use,
    /// or a file cannot be read or written.
    pub fn resume(
        path: Option<&Path>,
        config: &Checked<ExperimentConfig>,
        info: RunInfo,
    ) -> Result<Self> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => latest_path(&info.label()),
        };
        // the last that is written before a run
        if !path.join(INFO).exists() {
            let checkpoints = Checkpoints::new(path.join(CHECKPOINTS), Box::new(RealDisk));
            let empty = lines_in(&path.join(METRICS)) == 0 && checkpoints.numbers()?.is_empty();
            return if empty {
                Self::begin(path, config, info, false)
            } else {
                Err(Error::NotARun {
                    path,
                    looked_for: INFO.to_owned(),
                })
            };
        }
        let lock = Lock::take(&path)?;
        let old = RunInfo::read(&path.join(INFO))?;
        let (own, copies) = own_copy(config)?;
        let differs = |what: String| Error::Differs {
            path: path.clone(),
            what,
        };
        let was: ExperimentConfig = read_config(&path.join(CONFIG))?;
        if let Some(what) = difference(&was, &own)? {
            return Err(differs(what));
        }
        for (name, text) in &copies {
            if text::read(&path.join(name))? != *text {
                return Err(differs(format!("{name} there is not that of this command")));
            }
        }
        for (what, was, now) in [
            ("the seed", old.seed.to_string(), info.seed.to_string()),
            (
                "the device",
                old.device.to_string(),
                info.device.to_string(),
            ),
            ("the start", start_of(&old), start_of(&info)),
        ] {
            if was != now {
                return Err(differs(format!("{what} there is {was}, here {now}")));
            }
        }
        let was = old.status;
        let info = RunInfo {
            threads: info.threads,
            ..old
        };
        let mut directory = Self::open(path, &own, info, lock)?;
        directory.was = was;
        Ok(directory)
    }

    fn begin(
        path: PathBuf,
        config: &Checked<ExperimentConfig>,
        info: RunInfo,
        fresh: bool,
    ) -> Result<Self> {
        let (own, copies) = own_copy(config)?;
        let unwritable = |source| Error::Unwritable {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&path).map_err(unwritable)?;
        let lock = Lock::take(&path)?;
        // what another process made before we had the lock
        let found = if fresh { found_in(&path) } else { None };
        if let Some(found) = found.or(path.join(INFO).exists().then_some(INFO)) {
            return Err(Error::RunExists {
                path,
                found: found.to_owned(),
            });
        }
        let mut directory = Self::open(path.clone(), &own, info, lock)?;
        let write = |name: &str, text: &str| {
            let file = path.join(name);
            RealDisk.replace(&file, text.as_bytes()).map_err(unwritable)
        };
        for (name, text) in copies {
            write(name, &text)?;
        }
        write(CONFIG, &own.to_ron()?)?;
        directory.write_info()?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let synced = RealDisk.sync_directory(parent);
        synced.map_err(unwritable)?;
        Ok(directory)
    }

    fn open(path: PathBuf, own: &ExperimentConfig, info: RunInfo, lock: Lock) -> Result<Self> {
        let metrics = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path.join(METRICS))
            .map_err(|source| Error::Unwritable {
                path: path.clone(),
                source,
            })?;
        let decisive = without_budget(own).to_ron()?;
        let run = format!("{decisive}\n{}\n{}\n", info.seed, info.device);
        Ok(Self {
            checkpoints: Checkpoints::new(path.join(CHECKPOINTS), Box::new(RealDisk)),
            run: Digest::of(run.as_bytes()),
            path,
            info,
            metrics,
            written: blake3::Hasher::new(),
            history: Vec::new(),
            position: Position::default(),
            pace: Pace {
                last: Instant::now(),
                cost: Duration::ZERO,
            },
            was: Status::Running,
            config: own.to_ron()?,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The environment of the run, with the copies that it has of a robot's files.
    pub(crate) fn environment(&self, config: &ExperimentConfig) -> Result<Box<dyn Environment>> {
        let mut environment = config.environment.clone();
        let files = environment.files.take();
        environment.files = files.map(|_| copied_files().within(&self.path));
        environment.make()
    }

    /// What `run.json` says.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// The metrics so far, one entry an iteration.
    pub fn history(&self) -> &[IterationMetrics] {
        &self.history
    }

    /// How far the run has come.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The manifest of the latest checkpoint.
    pub(crate) fn latest_checkpoint(&self) -> Option<PathBuf> {
        let numbers = self.checkpoints.numbers().ok();
        let newest = numbers.and_then(|numbers| numbers.first().copied());
        newest.map(|number| self.checkpoints.manifest_path(number))
    }

    /// Puts `algorithm` where the run was saved last, and cuts the metrics back to there. A checkpoint that is damaged is passed
    /// over, which `notice` is told. A run that ended before it was saved begins anew.
    ///
    /// # Errors
    /// When there should be a checkpoint and none is whole, when one is of another configuration or format, or when one
    /// cannot be read.
    pub fn restore(
        &mut self,
        algorithm: &mut impl Persist,
        mut notice: impl FnMut(&str),
    ) -> Result<()> {
        let mut damage = None;
        for number in self.checkpoints.numbers()? {
            let error = match self.try_restore(number, algorithm) {
                Ok(position) => {
                    self.position = position;
                    return Ok(());
                }
                Err(error) => error,
            };
            let missing = matches!(&error, Error::Unreadable { source, .. }
                if source.kind() == io::ErrorKind::NotFound);
            if !missing && !matches!(error, Error::Damaged { .. }) {
                return Err(error);
            }
            notice(&format!("{error}; trying the checkpoint before it"));
            damage.get_or_insert(error);
        }
        if damage.is_none() && matches!(self.was, Status::Running | Status::Failed) {
            match lines_in(&self.path.join(METRICS)) {
                0 => {}
                n => notice(&format!(
                    "nothing was saved; its {n} iterations are done again"
                )),
            }
            return self.cut_metrics(&[]);
        }
        let source = damage.unwrap_or_else(|| Error::Damaged {
            path: self.path.join(CHECKPOINTS),
            what: "there is no checkpoint in it".to_owned(),
        });
        Err(Error::NoCheckpoint {
            path: self.path.clone(),
            source: Box::new(source),
        })
    }

    fn try_restore(&mut self, number: u64, algorithm: &mut impl Persist) -> Result<Position> {
        let (manifest, state) = self.checkpoints.load(number)?;
        let path = self.checkpoints.manifest_path(number);
        let damaged = |what: &str| Error::Damaged {
            path: path.clone(),
            what: what.to_owned(),
        };
        if manifest.run != self.run {
            return Err(Error::Differs {
                path: self.path.clone(),
                what: "its checkpoints are of another configuration".to_owned(),
            });
        }
        let metrics = read(&self.path.join(METRICS), LARGEST_METRICS)?;
        let length = usize::try_from(manifest.metrics.bytes).unwrap_or(usize::MAX);
        let kept = metrics.get(..length).unwrap_or_default();
        if Digest::of(kept) != manifest.metrics {
            return Err(damaged("metrics.jsonl is not what it was then"));
        }
        state
            .restore(algorithm)
            .map_err(|error| damaged(&error.to_string()))?;
        self.cut_metrics(kept)?;
        Ok(manifest.position)
    }

    /// Drops what comes after the bytes that are `kept`.
    fn cut_metrics(&mut self, kept: &[u8]) -> Result<()> {
        let length = kept.len() as u64;
        let cut = self.metrics.set_len(length);
        cut.and_then(|()| self.metrics.seek(io::SeekFrom::Start(length)))
            .map_err(|source| self.write_error(METRICS, source))?;
        let file = self.path.join(METRICS).display().to_string();
        self.history = parse_metrics(&String::from_utf8_lossy(kept), &file)?;
        self.written = blake3::Hasher::new();
        self.written.update(kept);
        Ok(())
    }

    /// Notes in the directory that the run goes on.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        let config = std::mem::take(&mut self.config);
        self.write_durably(CONFIG, config.as_bytes())?;
        self.info.status = Status::Running;
        self.info.error = None;
        self.info.resumed += u32::from(self.position != Position::default());
        self.write_info()
    }

    /// Notes that a part of an iteration is done.
    pub(crate) fn part_done(&mut self, real_steps: usize, wall_seconds: f64) {
        self.position.parts += 1;
        self.position.real_steps = real_steps;
        self.position.wall_seconds = wall_seconds;
    }

    /// Notes that the run is at `position` again.
    pub(crate) fn back_to(&mut self, position: Position) {
        self.position = position;
    }

    /// Takes the metrics of an iteration and the policy at its end.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn record(
        &mut self,
        metrics: &IterationMetrics,
        policy: impl Into<TrainedPolicy>,
    ) -> Result<()> {
        let mut line = serde_json::to_vec(metrics).map_err(|e| Error::System(e.to_string()))?;
        line.push(b'\n');
        self.metrics
            .write_all(&line)
            .map_err(|source| self.write_error(METRICS, source))?;
        self.written.update(&line);
        self.history.push(metrics.clone());
        self.position = Position {
            iterations: self.history.len(),
            parts: 0,
            real_steps: metrics.real_steps,
            wall_seconds: metrics.wall_seconds,
            attempts: 0,
        };
        self.publish(policy)
    }

    /// Writes the policy at the end of the latest iteration, and the learning curve up to there.
    pub(crate) fn publish(&self, policy: impl Into<TrainedPolicy>) -> Result<()> {
        let policy: TrainedPolicy = policy.into();
        let weights = policy
            .to_safetensors()
            .map_err(|e| Error::System(e.to_string()))?;
        self.write_briskly(POLICY, &weights)?;
        let curve = learning_curve(&self.info.label(), &self.history);
        self.write_briskly(CURVE, curve.as_bytes())
    }

    /// Whether it is time to save: after `seconds`, where it is said; else after every iteration, and every minute within a
    /// long one, unless that would take more than 2 % of the time.
    pub(crate) fn is_due(&self, seconds: Option<f64>) -> bool {
        let since = self.pace.last.elapsed();
        match seconds {
            Some(seconds) => since.as_secs_f64() >= seconds,
            None => {
                let awaited = self.position.parts == 0 || since >= LONGEST_WITHOUT;
                awaited && since >= self.pace.cost * PACE
            }
        }
    }

    /// Saves the state of `algorithm` at this point of the run.
    ///
    /// # Errors
    /// When the disk does not take it; earlier checkpoints are then as they were.
    pub fn save(&mut self, algorithm: &mut impl Persist) -> Result<()> {
        let start = Instant::now();
        let state = State::of(algorithm)?;
        self.metrics
            .sync_data()
            .map_err(|source| self.write_error(METRICS, source))?;
        let manifest = Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: self.run.clone(),
            position: self.position,
            metrics: Digest::from(&self.written),
            // known when it is written
            state: Digest::of(&[]),
        };
        let bytes = self.checkpoints.save(manifest, &state)?;
        let cost = start.elapsed();
        self.pace = Pace {
            last: Instant::now(),
            cost,
        };
        let saved = &mut self.info.checkpoints;
        saved.count += 1;
        saved.seconds += cost.as_secs_f64();
        saved.bytes = bytes;
        Ok(())
    }

    /// Notes in `run.json` how the run ended.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&mut self, outcome: Result<(), &Error>) -> Result<()> {
        match outcome {
            Ok(()) => {
                let policy = File::open(self.path.join(POLICY)).and_then(|file| file.sync_all());
                policy.map_err(|source| self.write_error(POLICY, source))?;
                self.info.status = Status::Finished;
            }
            Err(Error::Interrupted { .. }) => self.info.status = Status::Interrupted,
            Err(error) => {
                self.info.status = Status::Failed;
                self.info.error = Some(error.to_string());
            }
        }
        self.write_info()
    }

    fn write_info(&mut self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.info);
        let text = text.map_err(|e| Error::System(e.to_string()))? + "\n";
        self.write_durably(INFO, text.as_bytes())
    }

    /// Replaces a file, so that whoever reads it sees the old or the new one, never a part.
    fn write_durably(&mut self, name: &str, content: &[u8]) -> Result<()> {
        RealDisk
            .replace(&self.path.join(name), content)
            .and_then(|()| RealDisk.sync_directory(&self.path))
            .map_err(|source| self.write_error(name, source))
    }

    /// The same for what follows from a checkpoint: it does not wait for the disk.
    fn write_briskly(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        if fs::read(&path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        let new = temporary(&path);
        fs::write(&new, content)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|source| self.write_error(name, source))
    }

    fn write_error(&self, name: &str, source: io::Error) -> Error {
        Error::Save {
            path: self.path.join(name),
            source,
            kept: self.latest_checkpoint(),
        }
    }
}

/// The configuration as the directory of the run has it, and the copies of a robot's files.
#[allow(clippy::type_complexity, reason = "a name and a text")]
fn own_copy(config: &ExperimentConfig) -> Result<(ExperimentConfig, Vec<(&'static str, String)>)> {
    let mut own = config.clone();
    let copies = match own.environment.files.take() {
        Some(files) => {
            own.environment.files = Some(copied_files());
            vec![
                (ROBOT, text::read(&files.robot)?),
                (TASK, text::read(&files.task)?),
            ]
        }
        None => vec![],
    };
    Ok((own, copies))
}

fn start_of(info: &RunInfo) -> String {
    let start = info.start.as_deref();
    start.unwrap_or("a policy of its own").to_owned()
}

/// The configuration and the policy of the run in `path`.
pub(crate) fn load(path: &Path) -> Result<(Checked<ExperimentConfig>, TrainedPolicy)> {
    let not_a_run = |looked_for: &str| Error::NotARun {
        path: path.to_owned(),
        looked_for: looked_for.to_owned(),
    };
    if !path.is_dir() {
        return Err(not_a_run("such directory"));
    }
    let require = |name: &str| {
        let file = path.join(name);
        if file.is_file() {
            Ok(file)
        } else {
            Err(not_a_run(name))
        }
    };
    let config = require(CONFIG)?;
    let policy = require(POLICY)?;
    let config = preset::read_file(&config)?;
    let bytes = read(&policy, LARGEST_POLICY)?;
    let policy = TrainedPolicy::from_safetensors(&bytes)
        .map_err(|error| Error::Mismatch(format!("{}: {error}", policy.display())))?;
    Ok((config, policy))
}

/// The metrics of the run in `path`, one entry an iteration.
///
/// # Errors
/// When there is no such file, or a line is not what this version writes.
pub fn read_metrics(path: &Path) -> Result<Vec<IterationMetrics>> {
    let file = path.join(METRICS);
    parse_metrics(&text::read(&file)?, &file.display().to_string())
}

/// The metrics in the text of a `metrics.jsonl`, one entry a line; `file` is what error messages call it.
///
/// # Errors
/// When a line is not what this version writes.
pub fn parse_metrics(text: &str, file: &str) -> Result<Vec<IterationMetrics>> {
    let parse = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| Error::Parse {
            file: file.to_owned(),
            line: i + 1,
            column: error.column(),
            message: error.to_string(),
        })
    };
    text.lines().enumerate().map(parse).collect()
}

/// As it stands there, with paths as they are.
fn read_config(file: &Path) -> Result<ExperimentConfig> {
    let config = preset::read(&text::read(file)?, &file.to_string_lossy())?;
    Ok(config.into_inner())
}

/// 0 where there is no such file.
fn lines_in(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// As `config.ron` of a run has them.
fn copied_files() -> RobotFiles {
    RobotFiles {
        robot: ROBOT.into(),
        task: TASK.into(),
    }
}

fn found_in(path: &Path) -> Option<&'static str> {
    let ours = [
        CONFIG,
        INFO,
        METRICS,
        POLICY,
        CURVE,
        ROBOT,
        TASK,
        CHECKPOINTS,
    ];
    ours.into_iter().find(|name| path.join(name).exists())
}

/// `runs/NAME`, with a number behind it where that is taken.
pub fn free_path(name: &str) -> PathBuf {
    let free = paths(name).find(|path| !path.exists());
    free.unwrap_or_default()
}

/// The one of the paths of [`free_path`] with the highest number that is there; `runs/NAME` where there is none.
pub fn latest_path(name: &str) -> PathBuf {
    let number = |found: &str| match found.strip_prefix(name)? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse::<u64>().ok(),
    };
    let entries = fs::read_dir("runs").into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let number = number(entry.file_name().to_str()?)?;
        Some((number, entry.path()))
    });
    let latest = found.max_by_key(|(number, _)| *number);
    latest.map_or_else(|| Path::new("runs").join(name), |(_, path)| path)
}

fn paths(name: &str) -> impl Iterator<Item = PathBuf> + '_ {
    let runs = Path::new("runs");
    let numbered = (2..).map(move |i| runs.join(format!("{name}-{i}")));
    std::iter::once(runs.join(name)).chain(numbered)
}
