//! Saving the whole state of an object as named arrays, and restoring it.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// An object whose state between two steps can be saved and restored, bit for bit.
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
    /// Passes every part of the state to `archive` under a fixed name; the archive copies it or
    /// overwrites it. Values that follow from the configuration are not part of the state.
    ///
    /// # Errors
    /// When a saved part does not fit; the object is then partly restored and must not be used.
    fn persist(&mut self, archive: &mut Archive) -> Result<()>;
}

/// A saved state: arrays of numbers by name. The parts of a name are joined by dots.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Sorted by name.
    pub arrays: BTreeMap<String, Array>,
}

/// Numbers of one type.
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
    /// When two of its parts have the same name, or a tensor cannot be read back from its device.
    pub fn of(part: &mut impl Persist) -> Result<Self> {
        let mut archive = Archive::new(Self::default(), false);
        part.persist(&mut archive)?;
        Ok(archive.state)
    }

    /// Restores `part`, which must have the same configuration as the object that was saved.
    ///
    /// # Errors
    /// When a name is missing or unknown, or an array has another length or type; `part` must then
    /// not be used.
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

/// A state that is being saved or restored, see [`Persist`].
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

    /// Whether the state is being restored: derived values must then be computed again.
    pub fn restoring(&self) -> bool {
        self.restoring
    }

    /// A part that has parts itself.
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

    /// An array whose length follows from the configuration.
    ///
    /// # Errors
    /// When the saved one has another length or type.
    pub fn array<T: Scalar>(&mut self, name: &str, values: &mut [T]) -> Result<()> {
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

    /// An array of any length.
    ///
    /// # Errors
    /// When the saved one has another type.
    pub fn list<T: Scalar>(&mut self, name: &str, values: &mut Vec<T>) -> Result<()> {
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
    pub fn number<T: Scalar>(&mut self, name: &str, value: &mut T) -> Result<()> {
        self.array(name, std::slice::from_mut(value))
    }

    /// One count.
    ///
    /// # Errors
    /// As [`Self::array`], and when it does not fit into a `usize`.
    pub fn count(&mut self, name: &str, value: &mut usize) -> Result<()> {
        let mut wide = *value as u64;
        self.number(name, &mut wide)?;
        *value = usize::try_from(wide)
            .map_err(|_| self.refuse(name, "small enough for this machine"))?;
        Ok(())
    }

    /// An array of counts, of any length.
    ///
    /// # Errors
    /// As [`Self::list`], and when one does not fit into a `usize`.
    pub fn counts(&mut self, name: &str, values: &mut Vec<usize>) -> Result<()> {
        let mut wide: Vec<u64> = values.iter().map(|&x| x as u64).collect();
        self.list(name, &mut wide)?;
        let narrow = wide.into_iter().map(usize::try_from);
        *values = narrow
            .collect::<Result<_, _>>()
            .map_err(|_| self.refuse(name, "small enough for this machine"))?;
        Ok(())
    }

    /// All numbers of a part whose names are not fixed.
    ///
    /// # Errors
    /// When a saved array of this part is not a single number.
    pub fn named<T: Scalar>(&mut self, values: &mut BTreeMap<String, T>) -> Result<()> {
        if self.restoring {
            values.clear();
            let path = self.path.clone();
            let saved = self.state.arrays.range(path.clone()..);
            let names = saved.map_while(|(name, _)| name.strip_prefix(&path));
            for name in names.map(str::to_owned).collect::<Vec<_>>() {
                match self.take(&name)?[..] {
                    [value] => values.insert(name, value),
                    _ => return Err(self.refuse(&name, "a single number")),
                };
            }
            return Ok(());
        }
        for (name, value) in values {
            self.number(name, value)?;
        }
        Ok(())
    }

    /// The error that the array saved under `name` cannot be used, and must be `wanted`.
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
            Entry::Occupied(_) => Err(self.refuse(name, "saved only once")),
        }
    }

    fn take<T: Scalar>(&mut self, name: &str) -> Result<Vec<T>> {
        let array = self.state.arrays.remove(&format!("{}{name}", self.path));
        let array = array.ok_or_else(|| self.refuse(name, "present"))?;
        T::unpack(array).ok_or_else(|| self.refuse(name, T::KIND))
    }
}

/// The numbers of an [`Array`].
pub trait Scalar: Copy + sealed::Sealed {
    /// The type in error messages.
    const KIND: &'static str;
    /// The array of these numbers.
    fn pack(values: Vec<Self>) -> Array;
    /// The numbers of an array of this type.
    fn unpack(array: Array) -> Option<Vec<Self>>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! number {
    ($type:ty, $variant:ident, $kind:literal) => {
        impl sealed::Sealed for $type {}

        impl Scalar for $type {
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

    /// Fails when a number is rounded, a part is not overwritten, or names of parts collide.
    #[test]
    fn a_restored_state_equals_the_saved_one() {
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

    /// Fails when numbers by name are lost, or those of another part are taken.
    #[test]
    fn numbers_by_name_come_back() {
        struct Two([BTreeMap<String, f64>; 2]);
        impl Persist for Two {
            fn persist(&mut self, archive: &mut Archive) -> Result<()> {
                for (i, part) in self.0.iter_mut().enumerate() {
                    struct One<'a>(&'a mut BTreeMap<String, f64>);
                    impl Persist for One<'_> {
                        fn persist(&mut self, archive: &mut Archive) -> Result<()> {
                            archive.named(self.0)
                        }
                    }
                    archive.part(&format!("part{i}"), &mut One(part))?;
                }
                Ok(())
            }
        }
        let map = |entries: &[(&str, f64)]| {
            let entries = entries.iter().map(|(name, x)| ((*name).to_owned(), *x));
            entries.collect::<BTreeMap<_, _>>()
        };
        let mut first = Two([map(&[("fit", 1.0), ("a.b", 2.0)]), map(&[("fit", 3.0)])]);
        let state = State::of(&mut first).unwrap();
        let mut second = Two([map(&[("old", 9.0)]), map(&[])]);
        state.restore(&mut second).unwrap();
        assert_eq!(second.0, first.0);
    }

    /// Fails when a refusal does not name the array and what it must be.
    #[test]
    fn a_state_that_does_not_fit_is_refused() {
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
                "present",
            ),
        ] {
            assert!(
                message.contains(&format!("`{name}`")) && message.ends_with(wanted),
                "{message}"
            );
        }
    }
}
