use std::fmt;
use std::ops::{Bound, Deref, RangeBounds};

/// A parameter outside its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidValue {
    /// Path of the parameter, with dots between its parts.
    pub key: String,
    /// The invalid value.
    pub value: String,
    /// The allowed values.
    pub allowed: String,
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            value,
            allowed,
        } = self;
        write!(f, "`{key}` is {value}, allowed is {allowed}")
    }
}

/// All parameters of a configuration that are outside their range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Violations(pub Vec<InvalidValue>);

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

/// Parameters that may be invalid, as read from a file or built by hand, and their ranges.
///
/// ```
/// use mbmpo_core::{Check, Checker};
///
/// struct Adaptation { learning_rate: f64 }
///
/// impl Check for Adaptation {
///     fn inspect(&self, checker: &mut Checker) {
///         checker.range("learning_rate", self.learning_rate, 0.0..=10.0);
///     }
/// }
///
/// assert!(Adaptation { learning_rate: 1e-3 }.check().is_ok());
/// let error = Adaptation { learning_rate: f64::NAN }.check().err().unwrap();
/// assert_eq!(error.to_string(), "`learning_rate` is NaN, allowed is 0 to 10");
/// ```
pub trait Check: Sized {
    /// Reports every violation to `checker`.
    fn inspect(&self, checker: &mut Checker);

    /// The same parameters, after checking all ranges.
    ///
    /// # Errors
    /// All violations together.
    fn check(self) -> Result<Checked<Self>, Violations> {
        let mut checker = Checker::default();
        self.inspect(&mut checker);
        checker.finish()?;
        Ok(Checked(self))
    }
}

/// Parameters that passed [`Check::check`]; algorithms take only these.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked<T>(T);

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Checked<T> {
    /// The parameters, for editing.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// Checks what depends on more than the parameters themselves.
    ///
    /// # Errors
    /// All violations that `inspect` reports.
    pub fn check_with(&self, inspect: impl FnOnce(&T, &mut Checker)) -> Result<(), Violations> {
        let mut checker = Checker::default();
        inspect(&self.0, &mut checker);
        checker.finish()
    }

    /// A part of the parameters, which is checked because [`Checker::nested`] inspected it.
    pub fn part<U: Check + Clone>(&self, part: impl FnOnce(&T) -> &U) -> Checked<U> {
        Checked(part(&self.0).clone())
    }
}

/// Collects violations and keeps track of the path of the parameters under inspection.
#[derive(Debug, Default)]
pub struct Checker {
    path: Vec<String>,
    violations: Vec<InvalidValue>,
}

impl Checker {
    /// Requires that `value` lies in `range`; a NaN never does.
    pub fn range<T>(&mut self, key: &str, value: T, range: impl RangeBounds<T>)
    where
        T: PartialOrd + fmt::Display,
    {
        if range.contains(&value) {
            return;
        }
        let [low, high] = [range.start_bound(), range.end_bound()]
            .map(|bound| bound.map(|x| shown(&x.to_string())));
        let allowed = match (low, high) {
            (Bound::Included(low), Bound::Included(high)) => format!("{low} to {high}"),
            (Bound::Included(low), Bound::Excluded(high)) => {
                format!("at least {low}, below {high}")
            }
            (Bound::Included(low), Bound::Unbounded) => format!("at least {low}"),
            (Bound::Excluded(low), Bound::Included(high)) => format!("above {low}, at most {high}"),
            (Bound::Excluded(low), Bound::Excluded(high)) => format!("above {low}, below {high}"),
            (Bound::Excluded(low), Bound::Unbounded) => format!("above {low}"),
            (Bound::Unbounded, Bound::Included(high)) => format!("at most {high}"),
            (Bound::Unbounded, Bound::Excluded(high)) => format!("below {high}"),
            (Bound::Unbounded, Bound::Unbounded) => "a number".to_owned(),
        };
        self.refuse(key, value, &allowed);
    }

    /// Requires a number that is positive and finite in single precision.
    pub fn positive(&mut self, key: &str, value: f64) {
        let allowed = "a finite number above 0, from 1e-30 to 1e30";
        self.demand(key, value, (1e-30..=1e30).contains(&value), allowed);
    }

    /// Requires at most 16 layers of 1 to `widest` units each, with at most 100,000,000 weights
    /// between them.
    pub fn layers(&mut self, key: &str, widths: &[usize], widest: usize) {
        let count = widths.len();
        if count > 16 {
            return self.refuse(key, format!("{count} layers"), "at most 16 layers");
        }
        for (i, &width) in widths.iter().enumerate() {
            self.range(&format!("{key}[{i}]"), width, 1..=widest);
        }
        let all = hidden_weights(widths);
        let value = format!("{all} weights");
        self.demand_together(
            key,
            value,
            all <= 100_000_000,
            "at most 100,000,000 weights between the layers",
        );
    }

    /// Requires that `condition` holds; `allowed` describes it in the message.
    pub fn demand(&mut self, key: &str, value: impl fmt::Display, condition: bool, allowed: &str) {
        if !condition {
            self.refuse(key, value, allowed);
        }
    }

    /// As [`Self::demand`], for a condition on several values: reports nothing if any value was
    /// already refused.
    pub fn demand_together(
        &mut self,
        key: &str,
        value: impl fmt::Display,
        condition: bool,
        allowed: &str,
    ) {
        self.demand(
            key,
            value,
            condition || !self.violations.is_empty(),
            allowed,
        );
    }

    /// Inspects parameters that are the field `key` of the present ones.
    pub fn nested(&mut self, key: &str, parameters: &impl Check) {
        self.path.push(key.to_owned());
        parameters.inspect(self);
        self.path.pop();
    }

    fn finish(self) -> Result<(), Violations> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(Violations(self.violations))
        }
    }

    fn refuse(&mut self, key: &str, value: impl fmt::Display, allowed: &str) {
        // a file may have millions of them
        if self.violations.len() == MOST_VIOLATIONS {
            return;
        }
        let mut path = self.path.clone();
        path.push(key.to_owned());
        let key = path.join(".");
        if self.violations.iter().any(|other| other.key == key) {
            return;
        }
        self.violations.push(InvalidValue {
            key,
            value: shown(&value.to_string()),
            allowed: allowed.to_owned(),
        });
    }
}

const MOST_VIOLATIONS: usize = 100;

/// Number of weights between layers of these widths.
pub fn hidden_weights(widths: &[usize]) -> usize {
    let between = |pair: &[usize]| pair[0].saturating_mul(pair[1]);
    widths
        .windows(2)
        .map(between)
        .fold(0, usize::saturating_add)
}

/// A value in a message: long numbers in scientific notation, long texts cut.
fn shown(value: &str) -> String {
    const LONGEST: usize = 60;
    match value.parse::<f64>() {
        // integers of 64 bits have up to 20 digits
        Ok(number) if value.len() > 20 => format!("{number:e}"),
        _ => match value.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &value[..end]),
            None => value.to_owned(),
        },
    }
}
