//! Tests the contract of [`Environment`], [`Tasked`](mbmpo_core::Tasked) and [`Snapshot`], bit for
//! bit.

use crate::{PointMass, Simulated};
use mbmpo_core::task::Transition;
use mbmpo_core::{Environment, Purpose, Snapshot, Step, Stream, Streams, clip_action};
use rand::RngExt;
use std::fmt;
use std::time::Instant;

/// Control steps in a sequence.
const STEPS: usize = 1000;

/// The results of [`check_contract`].
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    /// Name of the environment.
    pub environment: String,
    /// One entry per property.
    pub checks: Vec<CheckOutcome>,
    /// Control steps per second on one thread under random actions; a short measurement.
    pub steps_per_second: f64,
}

/// The result for one property.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOutcome {
    /// The property.
    pub name: &'static str,
    /// Description of the failure, if there is one.
    pub failure: Option<String>,
}

impl CheckOutcome {
    /// The property called `name`, which fails if `outcome` is an error.
    pub fn new(name: &'static str, outcome: Result<(), String>) -> Self {
        Self {
            name,
            failure: outcome.err(),
        }
    }
}

impl CheckReport {
    /// Number of failed properties.
    pub fn failures(&self) -> usize {
        let failed = |check: &&CheckOutcome| check.failure.is_some();
        self.checks.iter().filter(failed).count()
    }
}

/// One line per property, then the speed.
impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            match &check.failure {
                None => writeln!(f, "ok    {}", check.name)?,
                Some(failure) => writeln!(f, "FAIL  {}: {failure}", check.name)?,
            }
        }
        let (all, failures) = (self.checks.len(), self.failures());
        write!(
            f,
            "{}: {} of {all} checks passed, {:.0} control steps per second",
            self.environment,
            all - failures,
            self.steps_per_second
        )
    }
}

/// Checks `environment`, as Gymnasium's `check_env` does but bit for bit, over a thousand control
/// steps each:
///
/// - shapes, horizon and time step; an action of the wrong size is refused and changes nothing;
/// - under random and under bang-bang actions every observation and reward is finite, and no step
///   fails;
/// - actions outside `[-1, 1]` act as the nearest in it;
/// - a reset depends on its stream alone and a step on state and action alone, in every copy;
/// - copies are independent;
/// - after restoring a snapshot, in the environment or in a copy, every later byte is the same;
///   bytes that are not a snapshot are refused;
/// - reward and termination are those of [`Tasked::task`](mbmpo_core::Tasked::task).
///
/// This crate has no tensors, so it does not check the tensor evaluation of the task.
pub fn check_contract(environment: &dyn Simulated) -> CheckReport {
    let subject = Subject(environment);
    let start = Instant::now();
    let uniform = subject.sequence(Actions::Uniform);
    let seconds = start.elapsed().as_secs_f64();
    let bang_bang = subject.sequence(Actions::BangBang);
    let both = [&uniform, &bang_bang];
    let checks = [
        ("shapes", subject.shapes(&uniform)),
        ("finite under random actions", uniform.finite()),
        ("finite under bang-bang actions", bang_bang.finite()),
        ("actions are clipped", subject.clipping()),
        ("resets are deterministic", subject.deterministic_resets()),
        ("steps are deterministic", subject.deterministic_steps()),
        ("resets forget earlier episodes", subject.resets_forget()),
        ("copies are independent", subject.copies()),
        ("snapshots restore every byte", subject.snapshots()),
        ("foreign snapshots are refused", subject.foreign_snapshots()),
        ("the reward is the task's", subject.rewards(both)),
        ("the termination is the task's", subject.terminations(both)),
    ];
    CheckReport {
        environment: environment.name().to_owned(),
        checks: checks
            .into_iter()
            .map(|(name, outcome)| CheckOutcome::new(name, outcome))
            .collect(),
        steps_per_second: uniform.taken.len() as f64 / seconds.max(1e-9),
    }
}

#[derive(Clone, Copy)]
enum Actions {
    /// Uniform in `[-1, 1]`.
    Uniform,
    /// -1 or 1 in each component, held for some steps.
    BangBang,
}

/// A recorded control step.
struct Taken {
    before: Vec<f32>,
    action: Vec<f32>,
    step: Step,
}

/// Consecutive control steps, with a reset after a termination.
#[derive(Default)]
struct Sequence {
    taken: Vec<Taken>,
    /// The error that ended the sequence.
    failure: Option<String>,
}

impl Sequence {
    fn each(&self, mut inspect: impl FnMut(&Taken) -> Result<(), String>) -> Result<(), String> {
        let steps = self.taken.iter().enumerate();
        for (t, taken) in steps {
            inspect(taken).map_err(|failure| format!("step {t}: {failure}"))?;
        }
        Ok(())
    }

    fn finite(&self) -> Result<(), String> {
        let finite = |what: &str, numbers: &[f32]| {
            let wrong = numbers.iter().position(|x| !x.is_finite());
            wrong.map_or(Ok(()), |i| Err(format!("{what} has {} at {i}", numbers[i])))
        };
        self.each(|taken| {
            finite("the observation before it", &taken.before)?;
            finite("the observation", &taken.step.observation)?;
            finite("the reward", &[taken.step.reward])
        })?;
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Observations, rewards and terminations as bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![];
        for taken in &self.taken {
            push_step(&mut bytes, &taken.step);
        }
        bytes.extend(self.failure.iter().flat_map(|failure| failure.bytes()));
        bytes
    }
}

fn push(bytes: &mut Vec<u8>, numbers: &[f32]) {
    bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
}

fn push_step(bytes: &mut Vec<u8>, step: &Step) {
    push(bytes, &step.observation);
    push(bytes, &[step.reward]);
    bytes.push(u8::from(step.terminated));
}

fn stream(index: u64) -> Stream {
    Streams::new(0).stream(Purpose::Test, 1, index)
}

/// An error where two records differ.
fn same(what: &str, a: &[u8], b: &[u8]) -> Result<(), String> {
    if a == b {
        return Ok(());
    }
    let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.len(), b.len());
    Err(format!("{what} differ from byte {at} on (of {a} and {b})"))
}

struct Subject<'a>(&'a dyn Simulated);

impl Subject<'_> {
    fn fresh(&self) -> Box<dyn Simulated> {
        self.0.boxed_simulated()
    }

    fn action(&self, actions: Actions, random: &mut Stream, previous: &mut Vec<f32>) -> Vec<f32> {
        let components = 0..self.0.action_dim();
        match actions {
            Actions::Uniform => components
                .map(|_| -1.0 + 2.0 * random.random::<f32>())
                .collect(),
            Actions::BangBang => {
                if previous.is_empty() || random.random_range(0..10) == 0 {
                    let corner = |_| if random.random() { 1.0 } else { -1.0 };
                    *previous = components.map(corner).collect();
                }
                previous.clone()
            }
        }
    }

    /// Steps from the present state, whose observation is `before`.
    fn steps(
        &self,
        environment: &mut dyn Environment,
        actions: Actions,
        random: &mut Stream,
        mut before: Vec<f32>,
        steps: usize,
    ) -> Sequence {
        let (mut sequence, mut held) = (Sequence::default(), vec![]);
        for t in 0..steps {
            let action = self.action(actions, random, &mut held);
            let step = match environment.step(&action) {
                Ok(step) => step,
                Err(error) => {
                    sequence.failure = Some(format!("step {t}: {error}"));
                    break;
                }
            };
            let next = if step.terminated {
                environment.reset(random)
            } else {
                step.observation.clone()
            };
            sequence.taken.push(Taken {
                before: std::mem::replace(&mut before, next),
                action,
                step,
            });
        }
        sequence
    }

    /// A sequence of [`STEPS`] from a reset.
    fn sequence(&self, actions: Actions) -> Sequence {
        let mut environment = self.fresh();
        let mut random = stream(2);
        let first = environment.reset(&mut random);
        self.steps(environment.as_mut(), actions, &mut random, first, STEPS)
    }

    /// Random steps from the present state, as bytes.
    fn record(
        &self,
        environment: &mut dyn Environment,
        random: &mut Stream,
        steps: usize,
    ) -> Vec<u8> {
        self.steps(environment, Actions::Uniform, random, vec![], steps)
            .bytes()
    }

    /// Random steps from a reset with the first observation, as bytes.
    fn episode(&self, environment: &mut dyn Environment, index: u64, steps: usize) -> Vec<u8> {
        let mut random = stream(index);
        let mut bytes = vec![];
        push(&mut bytes, &environment.reset(&mut random));
        bytes.extend(self.record(environment, &mut random, steps));
        bytes
    }

    fn shapes(&self, sequence: &Sequence) -> Result<(), String> {
        let demand = |condition: bool, what: String| if condition { Ok(()) } else { Err(what) };
        let environment = self.0;
        let (dim, actions) = (environment.observation_dim(), environment.action_dim());
        demand(dim > 0, "an observation has no component".to_owned())?;
        demand(actions > 0, "an action has no component".to_owned())?;
        demand(environment.horizon() > 0, "the horizon is 0".to_owned())?;
        let time = environment.control_time_step();
        let positive = time > 0.0 && time.is_finite();
        demand(positive, format!("the control step is {time} s"))?;
        let required = environment.task().required_observation_dim();
        demand(
            required <= dim,
            format!("the task uses {required} components of the observation, there are {dim}"),
        )?;
        let mut copy = self.fresh();
        let length = |what: &str, observation: &[f32]| {
            let given = observation.len();
            demand(
                given == dim,
                format!("{what} has {given} components instead of {dim}"),
            )
        };
        length("the first observation", &copy.reset(&mut stream(0)))?;
        let state = copy.snapshot();
        for wrong in [actions - 1, actions + 1] {
            let refused = copy.step(&vec![0.0; wrong]).is_err();
            demand(
                refused,
                format!("an action of {wrong} components is accepted, right are {actions}"),
            )?;
            demand(
                copy.snapshot() == state,
                format!("an action of {wrong} components is refused but changes the state"),
            )?;
        }
        sequence.each(|taken| length("the observation", &taken.step.observation))
    }

    fn clipping(&self) -> Result<(), String> {
        let dim = self.0.action_dim();
        for (wild, bound) in [
            (f32::INFINITY, 1.0),
            (f32::MAX, 1.0),
            (1.5, 1.0),
            (-1.5, -1.0),
            (f32::NEG_INFINITY, -1.0),
            (f32::NAN, -1.0),
        ] {
            let outcome = |action: &[f32]| {
                let mut copy = self.fresh();
                copy.reset(&mut stream(3));
                let step = copy.step(action).map_err(|error| error.to_string())?;
                let mut bytes = copy.snapshot();
                push_step(&mut bytes, &step);
                Ok::<_, String>(bytes)
            };
            let what = format!("a step with actions of {wild} and one with actions of {bound}");
            same(
                &what,
                &outcome(&vec![wild; dim])?,
                &outcome(&vec![bound; dim])?,
            )?;
        }
        Ok(())
    }

    fn deterministic_resets(&self) -> Result<(), String> {
        let mut copies = [self.fresh(), self.fresh()];
        for index in 0..20 {
            let [a, b] = &mut copies;
            let [a, b] = [a, b].map(|copy| {
                let mut bytes = vec![];
                push(&mut bytes, &copy.reset(&mut stream(index)));
                (bytes, copy.snapshot())
            });
            same("the observations of two resets", &a.0, &b.0)?;
            same("the states after two resets", &a.1, &b.1)?;
        }
        Ok(())
    }

    fn deterministic_steps(&self) -> Result<(), String> {
        let [a, b] = [(); 2].map(|()| self.episode(self.fresh().as_mut(), 4, STEPS));
        same("two copies with the same actions", &a, &b)
    }

    fn resets_forget(&self) -> Result<(), String> {
        let mut used = self.fresh();
        for index in 0..3 {
            self.episode(used.as_mut(), 10 + index, STEPS / 4);
        }
        let used = self.episode(used.as_mut(), 5, STEPS);
        let fresh = self.episode(self.fresh().as_mut(), 5, STEPS);
        same("a used environment and a fresh one", &used, &fresh)
    }

    fn copies(&self) -> Result<(), String> {
        let mut original = self.fresh();
        self.episode(original.as_mut(), 6, STEPS / 10);
        let state = original.snapshot();
        let same_kind = original.boxed_simulated();
        same("the states of a copy", &same_kind.snapshot(), &state)?;
        let mut copy = original.boxed_clone();
        let copied = self.record(copy.as_mut(), &mut stream(7), STEPS);
        let what = "the original's states before and after its copy moved";
        same(what, &original.snapshot(), &state)?;
        let kept = self.record(original.as_mut(), &mut stream(7), STEPS);
        same("a copy and its original", &copied, &kept)
    }

    fn snapshots(&self) -> Result<(), String> {
        let mut original = self.fresh();
        original.reset(&mut stream(8));
        for round in 0..10 {
            let state = original.snapshot();
            let mut random = stream(20 + round);
            let expected = self.record(original.as_mut(), &mut random.clone(), STEPS / 10);
            let later = original.snapshot();
            let mut other = self.fresh();
            self.episode(other.as_mut(), 9, 10);
            for environment in [&mut original, &mut other] {
                environment
                    .restore(&state)
                    .map_err(|error| format!("its own snapshot is refused: {error}"))?;
                let what = "a snapshot and one taken after restoring it";
                same(what, &environment.snapshot(), &state)?;
                let again = self.record(environment.as_mut(), &mut random.clone(), STEPS / 10);
                same("steps before and after restoring", &again, &expected)?;
                same("the states after them", &environment.snapshot(), &later)?;
            }
            // the next round starts from another state
            self.record(original.as_mut(), &mut random, 7);
        }
        Ok(())
    }

    fn foreign_snapshots(&self) -> Result<(), String> {
        let mut copy = self.fresh();
        copy.reset(&mut stream(1));
        let state = copy.snapshot();
        let mut foreign = vec![vec![], vec![7; state.len()], [&state[..], &[0]].concat()];
        foreign.extend(state.split_last().map(|(_, most)| most.to_vec()));
        let elsewhere = PointMass::new(crate::Variant::Paper);
        if elsewhere.name() != copy.name() {
            foreign.push(elsewhere.snapshot());
        }
        for number in [f64::NAN, f64::INFINITY] {
            let kept = state.len().saturating_sub(8);
            foreign.push([&state[..kept], &number.to_le_bytes()].concat());
        }
        for bytes in foreign {
            let length = bytes.len();
            if copy.restore(&bytes).is_ok() {
                return Err(format!("{length} foreign bytes are accepted"));
            }
            let what = "the states before and after foreign bytes were refused";
            same(what, &copy.snapshot(), &state)?;
        }
        Ok(())
    }

    /// Compares a value of every step with the task's value for the transition.
    fn compared(
        &self,
        sequences: [&Sequence; 2],
        what: &str,
        given: impl Fn(&Step) -> f32,
        expected: impl Fn(&Transition) -> f32,
    ) -> Result<(), String> {
        let required = self.0.task().required_observation_dim();
        let compare = |taken: &Taken| {
            let shown = [&taken.before, &taken.step.observation].map(Vec::len);
            if shown.iter().any(|&components| components < required) {
                return Err(format!("the task needs {required} components: {shown:?}"));
            }
            let transition = Transition {
                observation: &taken.before,
                action: &clip_action(&taken.action),
                next_observation: &taken.step.observation,
            };
            let (given, expected) = (given(&taken.step), expected(&transition));
            if given.to_bits() == expected.to_bits() {
                return Ok(());
            }
            Err(format!("{what} is {given}, that of the task {expected}"))
        };
        sequences.into_iter().try_for_each(|s| s.each(compare))
    }

    fn rewards(&self, sequences: [&Sequence; 2]) -> Result<(), String> {
        let task = self.0.task();
        let given = |step: &Step| step.reward;
        self.compared(sequences, "the reward", given, |t| task.reward(t))
    }

    fn terminations(&self, sequences: [&Sequence; 2]) -> Result<(), String> {
        let task = self.0.task();
        let given = |step: &Step| f32::from(u8::from(step.terminated));
        self.compared(sequences, "the termination", given, |t| task.termination(t))
    }
}
