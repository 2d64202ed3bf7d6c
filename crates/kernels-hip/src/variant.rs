//! The variants of an op: what each serves, and which one is taken.

mod alike;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

pub use self::alike::pins_for;
use crate::registry;
use crate::result::{Error, Result};

/// A way to compute an op for shapes `S`. An op's variants are a table, the best first, and v1 the last of those that are
/// taken unasked: what stands behind it, for example for its lower precision, is taken by pin alone.
pub struct Variant<S> {
    /// The op: `rms_norm`.
    pub op: &'static str,
    /// The variant: the name of its source file, and of its Cargo feature with `-` for `_`.
    pub name: &'static str,
    /// Variants of one class give the same bits; the class says the order of every sum.
    pub reduction_class: &'static str,
    /// Whether the variant serves a shape; if not, why.
    pub supports: fn(&S) -> std::result::Result<(), String>,
}

/// The shape of an op whose only variant serves whatever passes the checks of its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Any;

impl fmt::Display for Any {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any shape")
    }
}

/// The `supports` of a variant that serves every shape.
pub(crate) fn everything<S>(_: &S) -> std::result::Result<(), String> {
    Ok(())
}

/// A row of some op's table without its shapes: for whoever walks all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VariantInfo {
    /// [`Variant::op`].
    pub op: &'static str,
    /// [`Variant::name`].
    pub name: &'static str,
    /// [`Variant::reduction_class`].
    pub reduction_class: &'static str,
    /// Whether it is taken only if it is pinned.
    pub by_pin_alone: bool,
}

/// How many rows of a table may be taken without a pin.
fn num_unasked<S>(variants: &[Variant<S>]) -> usize {
    let is_first = |variant: &Variant<S>| variant.name[variant.op.len()..].starts_with("_v1_");
    variants.iter().position(is_first).map_or(variants.len(), |place| place + 1)
}

/// The rows of a table without their shapes.
pub(crate) fn infos<S>(variants: &[Variant<S>]) -> impl Iterator<Item = VariantInfo> {
    let num_unasked = num_unasked(variants);
    variants.iter().enumerate().map(move |(place, variant)| VariantInfo {
        op: variant.op,
        name: variant.name,
        reduction_class: variant.reduction_class,
        by_pin_alone: place >= num_unasked,
    })
}

/// The first of `variants`, down to v1, that is compiled in for `arch` and serves `shape`; the one that `pin` names, if it
/// does.
///
/// # Errors
///
/// [`Error::NotServed`] if there is none, with what each of them says; [`Error::Pin`] if the pinned one is not in the
/// table or does not serve the shape.
pub fn choose<'a, S: fmt::Display>(
    variants: &'a [Variant<S>],
    arch: &str,
    shape: &S,
    pin: Option<&str>,
) -> Result<&'a Variant<S>> {
    let is_built = |name: &str| match registry::code_object(name, arch) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    choose_built(variants, is_built, shape, pin)
}

fn choose_built<'a, S: fmt::Display>(
    variants: &'a [Variant<S>],
    is_built: impl Fn(&str) -> std::result::Result<(), String>,
    shape: &S,
    pin: Option<&str>,
) -> Result<&'a Variant<S>> {
    let refusal = |variant: &Variant<S>| {
        (variant.supports)(shape).and_then(|()| is_built(variant.name)).err()
    };
    let op = variants.first().map_or("", |variant| variant.op);
    if let Some(pin) = pin {
        let refused = |reason| Error::Pin { op: op.to_owned(), variant: pin.to_owned(), reason };
        let Some(variant) = variants.iter().find(|variant| variant.name == pin) else {
            return Err(refused(format!("the variants of {op} are {}", names(variants))));
        };
        return match refusal(variant) {
            None => Ok(variant),
            Some(reason) => Err(refused(format!("it does not serve {shape}: {reason}"))),
        };
    }
    let mut reasons = Vec::new();
    let (unasked, by_pin_alone) = variants.split_at(num_unasked(variants));
    for variant in unasked {
        match refusal(variant) {
            None => return Ok(variant),
            Some(reason) => reasons.push(format!("{}: {reason}", variant.name)),
        }
    }
    let pins = by_pin_alone.iter().filter(|variant| refusal(variant).is_none());
    reasons.extend(pins.map(|variant| format!("{}: it must be pinned", variant.name)));
    Err(Error::NotServed { op, shape: shape.to_string(), reasons })
}

fn names<S>(variants: &[Variant<S>]) -> String {
    variants.iter().map(|variant| variant.name).collect::<Vec<_>>().join(", ")
}

/// The variants that someone has asked for by name, and those that were taken so far.
pub struct Choices {
    pins: BTreeMap<String, String>,
    taken: Mutex<BTreeSet<&'static str>>,
    log: Box<dyn Fn(&str) + Send + Sync>,
}

impl Choices {
    /// With `pins` of the form `op=variant`. `log` is told of each variant when it is taken for the first time.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`] if one has another form, names what does not exist, or contradicts another;
    /// [`Error::ReductionClasses`] if decode and prefill would sum differently.
    pub fn new(pins: &[String], log: Box<dyn Fn(&str) + Send + Sync>) -> Result<Self> {
        let catalogue = crate::ops::catalogue();
        let mut parsed = BTreeMap::new();
        for pin in pins {
            let (op, variant) = pin.split_once('=').unwrap_or((pin, ""));
            let refused =
                |reason| Err(Error::Pin { op: op.to_owned(), variant: variant.to_owned(), reason });
            let of_op: Vec<_> =
                catalogue.iter().filter(|row| row.op == op).map(|row| row.name).collect();
            if of_op.is_empty() {
                let ops: BTreeSet<_> = catalogue.iter().map(|row| row.op).collect();
                let ops = ops.into_iter().collect::<Vec<_>>().join(", ");
                return refused(format!(
                    "there is no such op; a pin is op=variant, with one of {ops}"
                ));
            }
            if !of_op.contains(&variant) {
                return refused(format!("the variants of {op} are {}", of_op.join(", ")));
            }
            if parsed.insert(op.to_owned(), variant.to_owned()).is_some() {
                return refused("the op has another pin".to_owned());
            }
        }
        alike::check(&catalogue, &parsed)?;
        Ok(Choices { pins: parsed, taken: Mutex::default(), log })
    }

    /// [`choose`] with the op's pin.
    ///
    /// # Errors
    ///
    /// As [`choose`].
    pub fn choose<'a, S: fmt::Display>(
        &self,
        variants: &'a [Variant<S>],
        arch: &str,
        shape: &S,
    ) -> Result<&'a Variant<S>> {
        let pin = variants.first().and_then(|variant| self.pins.get(variant.op));
        let variant = choose(variants, arch, shape, pin.map(String::as_str))?;
        // A thread that panicked while it held the lock left a whole set behind.
        let mut taken = self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if taken.insert(variant.name) {
            let why = if pin.is_some() { "pinned" } else { "the first that serves it" };
            (self.log)(&format!("{}: {} for {shape}, {why}", variant.op, variant.name));
        }
        Ok(variant)
    }

    /// How `ops` sum, for whoever compares bits: of each, the classes of the variants that may be taken on `arch`, the best
    /// first.
    #[must_use]
    pub fn reduction_classes(&self, arch: &str, ops: &[&str]) -> String {
        let rows = crate::ops::catalogue().into_iter().filter(|row| ops.contains(&row.op));
        let mut ops: Vec<(&str, Vec<&str>)> = Vec::new();
        for row in rows {
            let is_taken = match self.pins.get(row.op) {
                Some(pin) => pin == row.name,
                None => !row.by_pin_alone && registry::code_object(row.name, arch).is_ok(),
            };
            if !is_taken {
                continue;
            }
            match ops.iter_mut().find(|(op, _)| *op == row.op) {
                Some((_, classes)) if classes.contains(&row.reduction_class) => (),
                Some((_, classes)) => classes.push(row.reduction_class),
                None => ops.push((row.op, vec![row.reduction_class])),
            }
        }
        let ops = ops.iter().map(|(op, classes)| format!("{op}: {}", classes.join(" / ")));
        ops.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Width(u32);

    impl fmt::Display for Width {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "width {}", self.0)
        }
    }

    const TABLE: [Variant<Width>; 3] = [
        Variant {
            op: "add",
            name: "add_v2_even",
            reduction_class: "none",
            supports: |shape| {
                if shape.0.is_multiple_of(2) { Ok(()) } else { Err("odd".to_owned()) }
            },
        },
        Variant {
            op: "add",
            name: "add_v1_naive",
            reduction_class: "none",
            supports: |shape| if shape.0 < 100 { Ok(()) } else { Err("too wide".to_owned()) },
        },
        Variant { op: "add", name: "add_v3_rough", reduction_class: "rough", supports: everything },
    ];

    fn built(_: &str) -> std::result::Result<(), String> {
        Ok(())
    }

    #[test]
    fn the_first_that_serves_the_shape_and_is_built_is_taken() {
        let name = |width, pin| choose_built(&TABLE, built, &Width(width), pin).unwrap().name;
        assert_eq!(name(4, None), "add_v2_even");
        assert_eq!(name(5, None), "add_v1_naive");
        assert_eq!(name(4, Some("add_v1_naive")), "add_v1_naive");
        let only_first = |name: &str| {
            if name == "add_v1_naive" { Ok(()) } else { Err("not built".to_owned()) }
        };
        assert_eq!(choose_built(&TABLE, only_first, &Width(4), None).unwrap().name, "add_v1_naive");
    }

    #[test]
    fn what_stands_behind_v1_is_taken_by_pin_alone() {
        for width in 0..200 {
            let taken = choose_built(&TABLE, built, &Width(width), None);
            assert!(taken.is_err() || taken.unwrap().name != "add_v3_rough");
        }
        let pinned = choose_built(&TABLE, built, &Width(101), Some("add_v3_rough")).unwrap();
        assert_eq!(pinned.name, "add_v3_rough");
        let by_pin_alone: Vec<_> = infos(&TABLE).map(|row| row.by_pin_alone).collect();
        assert_eq!(by_pin_alone, [false, false, true]);
        let Err(error) = choose_built(&TABLE, built, &Width(101), None) else { panic!() };
        assert!(error.to_string().contains("add_v3_rough: it must be pinned"), "{error}");
    }

    #[test]
    fn a_shape_that_nobody_serves_is_named_with_every_reason() {
        let error = |width, pin| {
            let Err(error) = choose_built(&TABLE, built, &Width(width), pin) else { panic!() };
            error.to_string()
        };
        let told = error(101, None);
        assert!(told.contains("width 101") && told.contains("odd") && told.contains("too wide"));
        let told = error(5, Some("add_v2_even"));
        assert!(told.contains("odd") && told.contains("width 5"), "{told}");
        assert!(error(4, Some("add_v4")).contains("add_v2_even, add_v1_naive"));
    }

    #[test]
    fn pins_must_name_what_there_is() {
        let told = |pins: &[&str]| {
            let pins: Vec<_> = pins.iter().map(|&pin| pin.to_owned()).collect();
            Choices::new(&pins, Box::new(|_| ())).err().map(|error| error.to_string())
        };
        assert_eq!(told(&["rms_norm=rms_norm_v1_naive"]), None);
        assert!(told(&["rms_nrom=x"]).unwrap().contains("rms_norm"));
        assert!(told(&["rms_norm"]).unwrap().contains("rms_norm_v1_naive"));
        let twice = ["rms_norm=rms_norm_v1_naive"; 2];
        assert!(told(&twice).unwrap().contains("another pin"));
    }
}
