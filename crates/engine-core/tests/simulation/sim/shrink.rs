//! Failing runs, made small enough to be read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::driver::{Options, Report, run};
use super::scenario::{Load, Meanwhile, Op, Scenario, Step};
use super::violation::{Verdict, Violation};

/// A scenario that fails.
#[derive(Debug)]
pub struct Failure {
    pub scenario: Scenario,
    pub violation: Violation,
}

/// Runs a scenario; a panic of the scheduler is a violation too.
pub fn try_run(scenario: &Scenario, options: Options) -> (Verdict<Report>, String) {
    catch_unwind(AssertUnwindSafe(|| run(scenario, options))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        (Err(Violation { invariant: "panic", what: text.to_owned() }), String::new())
    })
}

impl Failure {
    /// The failure of a scenario, if it fails.
    pub fn of(scenario: Scenario) -> Option<Failure> {
        let violation = try_run(&scenario, Options::default()).0.err()?;
        Some(Failure { scenario, violation })
    }

    /// A smaller scenario that breaks the same invariant: operations are left out, in ever smaller
    /// pieces, then each is made as plain as can be.
    pub fn shrink(mut self) -> Failure {
        loop {
            let size = self.size();
            let mut len = self.scenario.ops.len().div_ceil(2);
            while len > 0 {
                let mut start = 0;
                while start < self.scenario.ops.len() {
                    let mut smaller = self.scenario.clone();
                    let end = (start + len).min(smaller.ops.len());
                    smaller.ops.drain(start..end);
                    if !self.replace(smaller) {
                        start += len;
                    }
                }
                len /= 2;
            }
            for idx in 0..self.scenario.ops.len() {
                while plainer(&self.scenario.ops[idx]).into_iter().any(|op| {
                    let mut smaller = self.scenario.clone();
                    smaller.ops[idx] = op;
                    self.replace(smaller)
                }) {}
            }
            if self.size() == size {
                return self;
            }
        }
    }

    fn size(&self) -> (usize, usize) {
        (self.scenario.ops.len(), self.scenario.ops.iter().map(weight).sum())
    }

    /// Takes `smaller` instead, if it breaks the same invariant.
    fn replace(&mut self, smaller: Scenario) -> bool {
        let Some(failure) = Failure::of(smaller) else {
            return false;
        };
        let is_same = failure.violation.invariant == self.violation.invariant;
        if is_same {
            *self = failure;
        }
        is_same
    }

    /// What happened, step by step.
    pub fn log(&self) -> String {
        let options = Options { has_log: true, ..Options::default() };
        let (_, log) = try_run(&self.scenario, options);
        format!("{log}{}\n", self.violation)
    }
}

/// How far an operation is from the plainest.
fn weight(op: &Op) -> usize {
    match op {
        Op::Add(load) => 1 + load_weight(load),
        Op::Step(step) => {
            let meanwhile = [step.before_model, step.after_model].into_iter().flatten();
            let weight = meanwhile.map(|what| match what {
                Meanwhile::Abort(_) | Meanwhile::EndLoad(..) => 1,
                Meanwhile::Add(load) => 1 + load_weight(&load),
            });
            weight.sum::<usize>()
                + usize::from(step.delay)
                + step.failing_copies.into_iter().flatten().count()
                + usize::from(step.end != Step::PLAIN.end)
        }
        Op::Abort(pick) => *pick,
        Op::Offer(pick, [from, to]) => *pick + usize::from(*from) + usize::from(*to),
        Op::EndLoad(pick, percent) => *pick + usize::from(*percent),
        Op::ResetPrefixCache => 0,
    }
}

fn load_weight(load: &Load) -> usize {
    let flags = [load.salt > 0, load.adapter > 0, load.skip_reading, !load.ignore_eos];
    load.prompt_len
        + load.max_tokens
        + load.min_tokens
        + load.branch_at
        + load.priority.unsigned_abs() as usize
        + usize::from(load.doc)
        + usize::from(load.branch)
        + flags.into_iter().filter(|flag| *flag).count()
}

/// Operations a little plainer than this one, the plainest first.
fn plainer(op: &Op) -> Vec<Op> {
    let plainer = match op {
        Op::Add(load) => plainer_loads(load).into_iter().map(Op::Add).collect(),
        Op::Step(step) => {
            let mut steps = vec![
                Step::PLAIN,
                Step { before_model: None, ..*step },
                Step { after_model: None, ..*step },
                Step { failing_copies: [None; 2], ..*step },
                Step { failing_copies: [step.failing_copies[0], None], ..*step },
                Step { end: Step::PLAIN.end, ..*step },
                Step { delay: 0, ..*step },
            ];
            if let Some(Meanwhile::Add(load)) = &step.after_model {
                let loads = plainer_loads(load).into_iter().map(Meanwhile::Add);
                steps.extend(loads.map(|add| Step { after_model: Some(add), ..*step }));
            }
            steps.into_iter().map(Op::Step).collect()
        }
        Op::Abort(pick) => {
            vec![Op::Abort(0), Op::Abort(pick / 2), Op::Abort(pick.saturating_sub(1))]
        }
        Op::ResetPrefixCache => Vec::new(),
        Op::Offer(pick, [from, to]) => vec![
            Op::Offer(0, [*from, *to]),
            Op::Offer(*pick, [0, *to]),
            Op::Offer(*pick, [*from, to / 2]),
        ],
        Op::EndLoad(pick, percent) => vec![Op::EndLoad(0, *percent), Op::EndLoad(*pick, 0)],
    };
    plainer.into_iter().filter(|other| weight(other) < weight(op)).collect()
}

fn plainer_loads(load: &Load) -> Vec<Load> {
    let fewer = |number: usize| [number / 2, number - number / 4, number.saturating_sub(1)];
    let mut loads = vec![
        Load { salt: 0, adapter: 0, ..*load },
        Load { skip_reading: false, ..*load },
        Load { ignore_eos: true, min_tokens: 0, ..*load },
        Load { min_tokens: 0, ..*load },
        Load { priority: 0, ..*load },
        Load { doc: 0, ..*load },
        Load { branch: 0, branch_at: 0, ..*load },
    ];
    loads.extend(fewer(load.prompt_len).map(|prompt_len| Load { prompt_len, ..*load }));
    loads.extend(fewer(load.max_tokens).map(|max_tokens| Load { max_tokens, ..*load }));
    loads.extend(fewer(load.branch_at).map(|branch_at| Load { branch_at, ..*load }));
    loads.into_iter().filter(|other| load_weight(other) < load_weight(load)).collect()
}
