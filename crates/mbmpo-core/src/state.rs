//! Taking out the whole state of something, and putting it back.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Something whose state between two steps can be taken out and put back; after that every bit is as it was then.
///
/// One list of parts serves both directions, so that they cannot disagree:
///
/// ```
/// use mbmpo_core::{Archive, Persist, Result, State};
///
/// struct Average { sum: Vec<f64>, count: usize }
///
/// impl Persist for Average {
///     fn persist(&mut self, archive: &mut Archive) -> Result<()> {
///         archive.array("sum", &mut self.sum)?;
///         archive.count("count", &mut self.count)
///     }
/// }
///
/// let mut average = Average { sum: vec![1.0, 2.0], count: 3 };
/// let state = State::of(&mut average)?;
/// let mut other = Average { sum: vec![0.0, 0.0], count: 0 };
/// state.restore(&mut other)?;
/// assert_eq!((other.sum, other.count), (average.sum, 3));
/// # Ok::<(), mbmpo_core::Error>(())
/// ```
pub trait Persist {
    /// Shows `archive` every part of the state, under names that stay the same; it takes them, or puts others in their
    /// place. What follows from the configuration alone is no state.
    ///
    /// # Errors
    /// When what was saved does not fit; the state is then part old, part new, and of no use.
    fn persist(&mut self, archive: &mut Archive) -> Result<()>;
}

/// A state that was taken out: arrays of numbers by name, the parts of which are joined by dots.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Sorted by name.
    pub arrays: BTreeMap<String, Array>,
}

/// Numbers of a kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// Counts.
    U64(Vec<u64>),
}

impl State {
    /// The state of `part`, which is not changed.
    ///
    /// # Errors
    /// When two of its parts have the same name, or a device does not give its numbers.
    pub fn of(part: &mut impl Persist) -> Result<Self> {
        let mut archive = Archive::new(Self::default(), false);
        part.persist(&mut archive)?;
        Ok(archive.state)
    }

    /// Puts the state into `part`, which has to be made with the same configuration as the one that it was taken from.
    ///
    /// # Errors
    /// When a name is missing, is not known, or its numbers are too many, too few or of another kind; `part` is then of no
    /// use.
    pub fn restore(self, part: &mut impl Persist) -> Result<()> {
        let mut archive = Archive::new(self, true);
        part.persist(&mut archive)?;
        match archive.state.arrays.into_keys().next() {
            Some(name) => Err(Error::State {
                name,
                wanted: "absent".to_owned(),
            }),
            None => Ok(()),
        }
    }
}

/// A state on its way out or back in, see [`Persist`].
#[derive(Debug)]
pub struct Archive {
    state: State,
    restoring: bool,
    path: String,
}

impl Archive {
    fn new(state: State, restoring: bool) -> Self {
        Self {
            state,
            restoring,
            path: String::new(),
        }
    }

    /// Whether numbers are put back: what was derived from them has to be made anew afterwards.
    pub fn restoring(&self) -> bool {
        self.restoring
    }

    /// A part with parts of its own.
    ///
    /// # Errors
    /// Those of the part.
    pub fn part(&mut self, name: &str, part: &mut (impl Persist + ?Sized)) -> Result<()> {
        let before = self.path.len();
        self.path.push_str(name);
        self.path.push('.');
        part.persist(self)?;
        self.path.truncate(before);
        Ok(())
    }

    /// Numbers whose count the configuration decides.
    ///
    /// # Errors
    /// When what was saved are more or fewer, or of another kind.
    pub fn array<T: Number>(&mut self, name: &str, values: &mut [T]) -> Result<()> {
        if !self.restoring {
            return self.put(name, T::pack(values.to_vec()));
        }
        let saved = self.take(name)?;
        if saved.len() != values.len() {
            let wanted = format!("{} numbers, not {}", values.len(), saved.len());
            return Err(self.refuse(name, &wanted));
        }
        values.copy_from_slice(&saved);
        Ok(())
    }

    /// Numbers that become more, or fewer.
    ///
    /// # Errors
    /// When what was saved is of another kind.
    pub fn list<T: Number>(&mut self, name: &str, values: &mut Vec<T>) -> Result<()> {
        if !self.restoring {
            return self.put(name, T::pack(values.clone()));
        }
        *values = self.take(name)?;
        Ok(())
    }

    /// One number.
    ///
    /// # Errors
    /// As [`Self::array`].
    pub fn number<T: Number>(&mut self, name: &str, value: &mut T) -> Result<()> {
        self.array(name, std::slice::from_mut(value))
    }

    /// One count.
    ///
    /// # Errors
    /// As [`Self::array`], and when it is too large for this machine.
    pub fn count(&mut self, name: &str, value: &mut usize) -> Result<()> {
        let mut wide = *value as u64;
        self.number(name, &mut wide)?;
        *value = usize::try_from(wide).map_err(|_| self.refuse(name, "smaller"))?;
        Ok(())
    }

    /// Counts that become more, or fewer.
    ///
    /// # Errors
    /// As [`Self::list`], and when one is too large for this machine.
    pub fn counts(&mut self, name: &str, values: &mut Vec<usize>) -> Result<()> {
        let mut wide: Vec<u64> = values.iter().map(|&x| x as u64).collect();
        self.list(name, &mut wide)?;
        let narrow = wide.into_iter().map(usize::try_from);
        *values = narrow
            .collect::<Result<_, _>>()
            .map_err(|_| self.refuse(name, "smaller"))?;
        Ok(())
    }

    /// That what was saved under `name` cannot be used, and what it must be.
    pub fn refuse(&self, name: &str, wanted: &str) -> Error {
        Error::State {
            name: format!("{}{name}", self.path),
            wanted: wanted.to_owned(),
        }
    }

    fn put(&mut self, name: &str, array: Array) -> Result<()> {
        match self.state.arrays.entry(format!("{}{name}", self.path)) {
            Entry::Vacant(entry) => {
                entry.insert(array);
                Ok(())
            }
            Entry::Occupied(_) => Err(self.refuse(name, "there once")),
        }
    }

    fn take<T: Number>(&mut self, name: &str) -> Result<Vec<T>> {
        let array = self.state.arrays.remove(&format!("{}{name}", self.path));
        let array = array.ok_or_else(|| self.refuse(name, "there"))?;
        T::unpack(array).ok_or_else(|| self.refuse(name, T::KIND))
    }
}

/// What an [`Array`] has.
pub trait Number: Copy + sealed::Sealed {
    /// What it is called.
    const KIND: &'static str;
    /// As an array.
    fn pack(values: Vec<Self>) -> Array;
    /// The numbers of an array of this kind.
    fn unpack(array: Array) -> Option<Vec<Self>>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! number {
    ($type:ty, $variant:ident, $kind:literal) => {
        impl sealed::Sealed for $type {}

        impl Number for $type {
            const KIND: &'static str = $kind;

            fn pack(values: Vec<Self>) -> Array {
                Array::$variant(values)
            }

            fn unpack(array: Array) -> Option<Vec<Self>> {
                match array {
                    Array::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}

number!(f32, F32, "numbers in single precision");
number!(f64, F64, "numbers in double precision");
number!(u64, U64, "counts");

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Inner(Vec<f32>);

    impl Persist for Inner {
        fn persist(&mut self, archive: &mut Archive) -> Result<()> {
            archive.list("log", &mut self.0)
        }
    }

    #[derive(Debug, Clone, PartialEq)]
    struct Outer {
        weights: [f64; 2],
        steps: usize,
        parts: [Inner; 2],
    }

    impl Persist for Outer {
        fn persist(&mut self, archive: &mut Archive) -> Result<()> {
            archive.array("weights", &mut self.weights)?;
            archive.count("steps", &mut self.steps)?;
            for (i, part) in self.parts.iter_mut().enumerate() {
                archive.part(&format!("parts.{i}"), part)?;
            }
            Ok(())
        }
    }

    fn outer(x: f64, log: usize) -> Outer {
        Outer {
            weights: [x, f64::NAN],
            steps: log,
            parts: [Inner(vec![1.5; log]), Inner(vec![])],
        }
    }

    /// Fails when a number is rounded on its way, a part keeps what it had, or names of parts run into each other.
    #[test]
    fn what_comes_back_is_what_went_in() {
        let mut first = outer(0.1, 3);
        let state = State::of(&mut first).unwrap();
        let names: Vec<_> = state.arrays.keys().map(String::as_str).collect();
        assert_eq!(names, ["parts.0.log", "parts.1.log", "steps", "weights"]);
        let mut second = outer(7.0, 1);
        state.clone().restore(&mut second).unwrap();
        let again = State::of(&mut second).unwrap();
        // NaN differs from itself
        assert_eq!(format!("{again:?}"), format!("{state:?}"));
    }

    /// Each refusal names the array and what it must be.
    #[test]
    fn what_does_not_fit_is_refused() {
        let state = State::of(&mut outer(0.1, 3)).unwrap();
        let refused = |change: &dyn Fn(&mut BTreeMap<String, Array>)| {
            let mut state = state.clone();
            change(&mut state.arrays);
            state.restore(&mut outer(0.0, 0)).unwrap_err().to_string()
        };
        let put = |name: &str, array: Array| {
            let name = name.to_owned();
            refused(&move |arrays| {
                arrays.insert(name.clone(), array.clone());
            })
        };
        for (message, name, wanted) in [
            (
                put("weights", Array::F64(vec![1.0])),
                "weights",
                "2 numbers, not 1",
            ),
            (put("steps", Array::F64(vec![1.0])), "steps", "counts"),
            (
                put("parts.2.log", Array::U64(vec![])),
                "parts.2.log",
                "absent",
            ),
            (
                refused(&|arrays| {
                    arrays.remove("parts.1.log");
                }),
                "parts.1.log",
                "there",
            ),
        ] {
            assert!(
                message.contains(&format!("`{name}`")) && message.ends_with(wanted),
                "{message}"
            );
        }
    }
}
