//! Ops that must sum alike: a token's row may go through either, and must have the same bits.

use std::collections::BTreeMap;

use super::VariantInfo;
use crate::registry;
use crate::result::{Error, Result};

/// Decode and prefill: a row is a chunk's or a step's own, as the scheduler has it.
const ALIKE: [[&str; 2]; 1] = [["paged_attention", "prefill_attention"]];

/// Fails if ops that must sum alike take variants of different classes, pinned ones or the defaults of this build.
pub(super) fn check(catalogue: &[VariantInfo], pins: &BTreeMap<String, String>) -> Result<()> {
    for [one, other] in ALIKE {
        let [Some(first), Some(second)] = [one, other].map(|op| taken(catalogue, pins, op)) else {
            continue;
        };
        if first.reduction_class == second.reduction_class {
            continue;
        }
        // Told of the one that is pinned; of two pinned ones, or none, of the first.
        let is_second = pins.contains_key(other) && !pins.contains_key(one);
        let (row, partner) = if is_second { (second, first) } else { (first, second) };
        let alike = names_alike(catalogue, &row, partner.op);
        return Err(Error::ReductionClasses {
            op: row.op,
            variant: row.name,
            other_op: partner.op,
            other_variant: partner.name,
            alike,
        });
    }
    Ok(())
}

/// The variant that an op takes of shapes that all of its variants serve.
fn taken(
    catalogue: &[VariantInfo],
    pins: &BTreeMap<String, String>,
    op: &str,
) -> Option<VariantInfo> {
    let mut rows = catalogue.iter().filter(|row| row.op == op);
    let row = match pins.get(op) {
        Some(pin) => rows.find(|row| row.name == pin),
        None => rows.find(|row| !row.by_pin_alone && is_built(row.name)),
    };
    row.copied()
}

/// Whether the build has the variant; of a build without a compiler everything is said, for nothing can run.
fn is_built(name: &str) -> bool {
    let rows = registry::rows();
    rows.is_empty() || rows.iter().any(|row| row.variant == name)
}

/// The variants of `op` that sum as `row` does.
fn names_alike(catalogue: &[VariantInfo], row: &VariantInfo, op: &str) -> Vec<&'static str> {
    let rows = catalogue.iter().filter(|other| other.op == op);
    rows.filter(|other| other.reduction_class == row.reduction_class).map(|row| row.name).collect()
}

/// The pins with which the variant `row` is taken: its own, and those of ops that must sum as it does.
#[must_use]
pub fn pins_for(row: &VariantInfo) -> Vec<String> {
    let catalogue = crate::ops::catalogue();
    let partners = ALIKE.iter().filter(|ops| ops.contains(&row.op)).flatten();
    let partner_pin = |op: &&str| {
        let names = names_alike(&catalogue, row, op);
        let name = names.iter().find(|name| is_built(name)).or(names.first());
        name.map(|name| format!("{op}={name}"))
    };
    let own = format!("{}={}", row.op, row.name);
    let others = partners.filter(|op| **op != row.op).filter_map(partner_pin);
    [own].into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Choices;
    use super::*;

    fn choices(pins: &[&str]) -> Result<Choices> {
        let pins: Vec<_> = pins.iter().map(|&pin| pin.to_owned()).collect();
        Choices::new(&pins, Box::new(|_| ()))
    }

    #[test]
    fn decode_and_prefill_may_not_sum_differently() {
        let paged = "paged_attention=paged_attention_v1_naive";
        let prefill = "prefill_attention=prefill_attention_v1_naive";
        let is_first_alone = !registry::rows().is_empty()
            && !registry::rows().iter().any(|row| row.variant.contains("mfma_one_shot"));
        choices(&[]).unwrap();
        choices(&[paged, prefill]).unwrap();
        if is_first_alone {
            // The default is what is pinned.
            return;
        }
        for (pin, op, missing) in [
            (paged, "prefill_attention", "prefill_attention_v1_naive"),
            (prefill, "paged_attention", "paged_attention_v1_naive"),
        ] {
            let Err(error @ Error::ReductionClasses { other_op, .. }) = choices(&[pin]) else {
                panic!("{pin} alone");
            };
            let told = error.to_string();
            assert_eq!(other_op, op);
            assert!(told.contains(&format!("--pin {op}=")) && told.contains(missing), "{told}");
        }
        let mixed = choices(&[paged, "prefill_attention=prefill_attention_v2_mfma_direct"]);
        assert!(matches!(mixed, Err(Error::ReductionClasses { .. })));
        // Another variant of the default's class needs no partner.
        choices(&["paged_attention=paged_attention_v3_mfma_one_shot"]).unwrap();
    }

    #[test]
    fn every_variant_can_be_taken_with_its_partners() {
        for row in crate::ops::catalogue() {
            let pins = pins_for(&row);
            assert_eq!(pins[0], format!("{}={}", row.op, row.name));
            let result = Choices::new(&pins, Box::new(|_| ()));
            assert!(result.is_ok(), "{pins:?}: {:?}", result.err());
        }
    }

    #[test]
    fn the_classes_of_a_step_name_what_is_pinned_and_nothing_that_is_not_taken() {
        let ops = ["paged_attention", "prefill_attention"];
        let usual = choices(&[]).unwrap().reduction_classes("gfx942", &ops);
        let rows = crate::ops::catalogue();
        for row in rows.iter().filter(|row| ops.contains(&row.op)) {
            let pins = pins_for(row);
            let pinned = Choices::new(&pins, Box::new(|_| ())).unwrap();
            let classes = pinned.reduction_classes("gfx942", &ops);
            assert_eq!(classes.matches(row.reduction_class).count(), 2, "{classes}");
            assert!(!row.by_pin_alone || !usual.contains(row.reduction_class), "{usual}");
        }
    }
}
