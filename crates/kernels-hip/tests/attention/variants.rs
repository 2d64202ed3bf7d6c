//! The variants that the build has, and what each promises.

use std::sync::Arc;

use engine_core::dtype::DType;
use kernels_hip::ops::{self, Attention};
use kernels_hip::variant::{Choices, pins_for};
use kernels_hip::{Device, Error, Stream, registry};

use crate::bench::{Bar, Data, Problem, run, verdict};

/// The names of the variants of both ops that are compiled in.
pub fn names() -> Vec<&'static str> {
    let is_attention = |op| matches!(op, "paged_attention" | "prefill_attention");
    let rows = ops::catalogue().into_iter().filter(|row| is_attention(row.op));
    let is_built = |name: &&str| registry::rows().iter().any(|row| row.variant == *name);
    rows.map(|row| row.name).filter(is_built).collect()
}

/// The variant alone.
pub fn pinned(device: &Device, name: &str) -> Attention {
    let row = ops::catalogue().into_iter().find(|row| row.name == name).unwrap();
    let choices = Choices::new(&pins_for(&row), Box::new(|_| ())).unwrap();
    match row.op {
        "paged_attention" => Attention::paged(device, Arc::new(choices)),
        _ => Attention::prefill(device, Arc::new(choices)),
    }
}

/// What a variant's reduction class says of weights.
pub fn bar(name: &str, q_dtype: DType) -> Bar {
    let rows = ops::catalogue();
    let class = rows.iter().find(|row| row.name == name).unwrap().reduction_class;
    Bar::of_class(class, q_dtype)
}

/// Checks the problem with every variant that serves it, and gives how many did.
pub fn check_all(on: (&Device, &Stream), problem: &Problem) -> usize {
    let data = Data::new(problem);
    let mut num_serving = 0;
    for name in names() {
        match run(&mut pinned(on.0, name), on, problem, &data) {
            Ok(got) => {
                num_serving += 1;
                let verdict = verdict(problem, &data, &got, bar(name, problem.q_dtype));
                if let Err(error) = verdict {
                    panic!("{name}: {error}\n{problem:?}");
                }
            }
            Err(Error::Pin { .. }) => {}
            Err(error) => panic!("{name}: {error}\n{problem:?}"),
        }
    }
    num_serving
}
