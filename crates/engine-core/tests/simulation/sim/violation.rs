//! How a broken promise is told.

/// What was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name in `docs/invariants.md`.
    pub invariant: &'static str,
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "invariant {}: {}", self.invariant, self.what)
    }
}

pub type Verdict<T = ()> = Result<T, Violation>;

/// Fails by the named invariant with the formatted text unless the condition holds.
macro_rules! ensure {
    ($invariant:literal, $condition:expr, $($text:tt)*) => {
        if !$condition {
            let what = format!($($text)*);
            return Err($crate::sim::violation::Violation { invariant: $invariant, what });
        }
    };
}
pub(crate) use ensure;
