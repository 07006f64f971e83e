use std::fmt;
use std::ops::{Bound, Deref, RangeBounds};

/// One parameter outside its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidValue {
    /// Path of the parameter, its parts joined by dots.
    pub key: String,
    /// The offending value.
    pub value: String,
    /// What is allowed.
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

/// Every parameter of a configuration that is outside its range.
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

/// Unchecked parameters, as read from a file or built by hand, that know their ranges.
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

    /// The same parameters, known to be in range.
    ///
    /// # Errors
    /// All violations at once.
    fn check(self) -> Result<Checked<Self>, Violations> {
        let mut checker = Checker::default();
        self.inspect(&mut checker);
        if checker.violations.is_empty() {
            Ok(Checked(self))
        } else {
            Err(Violations(checker.violations))
        }
    }
}

/// Parameters that passed [`Check::check`]; only these run.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked<T>(T);

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Checked<T> {
    /// Gives the parameters back for editing.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// A checked part of checked parameters: [`Checker::nested`] has inspected it with the whole.
    pub fn part<U: Check + Clone>(&self, part: impl FnOnce(&T) -> &U) -> Checked<U> {
        Checked(part(&self.0).clone())
    }
}

/// Collects violations, with the path of the parameters under inspection.
#[derive(Debug, Default)]
pub struct Checker {
    path: Vec<String>,
    violations: Vec<InvalidValue>,
}

impl Checker {
    /// Demands that `value` lies in `range`; a NaN never does.
    pub fn range<T>(&mut self, key: &str, value: T, range: impl RangeBounds<T>)
    where
        T: PartialOrd + fmt::Display,
    {
        if range.contains(&value) {
            return;
        }
        let allowed = match (range.start_bound(), range.end_bound()) {
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

    /// Demands a finite number above zero.
    pub fn positive(&mut self, key: &str, value: f64) {
        if !(value > 0.0 && value.is_finite()) {
            self.refuse(key, value, "a finite number above 0");
        }
    }

    /// Demands at most 16 layers of 1 to `widest` units each.
    pub fn layers(&mut self, key: &str, widths: &[usize], widest: usize) {
        let count = widths.len();
        self.demand(
            key,
            format!("{count} layers"),
            count <= 16,
            "at most 16 layers",
        );
        // of a list without end, the length is all there is to say
        for &width in widths.iter().take(16) {
            self.range(key, width, 1..=widest);
        }
    }

    /// Demands that `condition` holds; `allowed` says what it asks for.
    pub fn demand(&mut self, key: &str, value: impl fmt::Display, condition: bool, allowed: &str) {
        if !condition {
            self.refuse(key, value, allowed);
        }
    }

    /// Inspects parameters that are a field of the present ones.
    pub fn nested(&mut self, key: &str, parameters: &impl Check) {
        self.path.push(key.to_owned());
        parameters.inspect(self);
        self.path.pop();
    }

    fn refuse(&mut self, key: &str, value: impl fmt::Display, allowed: &str) {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        self.violations.push(InvalidValue {
            key: path.join("."),
            value: value.to_string(),
            allowed: allowed.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Checker;

    /// Fails when every layer of a list of any length gets a violation of its own.
    #[test]
    fn too_many_layers_are_few_violations() {
        let mut checker = Checker::default();
        checker.layers("hidden", &[0; 100_000], 32);
        assert_eq!(checker.violations.len(), 17);
        assert_eq!(checker.violations[0].allowed, "at most 16 layers");
    }
}
