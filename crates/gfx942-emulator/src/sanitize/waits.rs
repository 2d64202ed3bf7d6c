//! `s_waitcnt`: what is still in flight when a register is used (manual, 4.4).
//!
//! A vector memory instruction is done when `vmcnt` has been waited down to the number of younger ones: they return in
//! order. LDS instructions return in order among themselves, so that waiting `lgkmcnt` down to N leaves at most the N
//! youngest. Scalar loads return in any order: only 0 helps. A FLAT instruction counts in both; what it loads is there
//! with the counter of the memory that it happened to access.

use super::effects::{Effects, NUM_REGISTERS, Role, Span};
use super::problem::{Problem, Site};
use super::{Kind, register_name};
use crate::exec::Unit;
use crate::isa::{Format, Inst, Op};

/// In which order an instruction is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Vector,
    Lds,
    /// In no order: only a wait for all helps.
    Any,
}

const NUM_ORDERS: usize = 3;

/// The most that the counters count.
const MAX_VMCNT: u64 = 63;
const MAX_LGKMCNT: u64 = 15;

/// An instruction in flight.
#[derive(Clone, Copy, Debug)]
struct Flight {
    order: Order,
    number: u64,
    /// FLAT that accessed LDS and other memory: also this one.
    vector_number: u64,
    site: Site,
}

/// The memory that an instruction accessed.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Spaces {
    pub lds: bool,
    pub other: bool,
}

/// A place in the order of the instructions that write LDS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket(Order, u64);

impl Ticket {
    /// Whether `vmcnt` tells when it is done.
    pub fn is_vector(self) -> bool {
        self.0 == Order::Vector
    }
}

/// The counters of a wave.
pub(super) struct Waits {
    issued: [u64; NUM_ORDERS],
    done: [u64; NUM_ORDERS],
    pending: Box<[Option<Flight>]>,
    num_pending: usize,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            issued: [0; NUM_ORDERS],
            done: [0; NUM_ORDERS],
            pending: vec![None; NUM_REGISTERS].into(),
            num_pending: 0,
        }
    }
}

impl Waits {
    pub fn start(&mut self) {
        self.done = self.issued;
        self.forget();
    }

    fn forget(&mut self) {
        if self.num_pending > 0 {
            self.pending.fill(None);
            self.num_pending = 0;
        }
    }

    /// Whether the instruction with this ticket is known to be done.
    pub fn is_done(&self, Ticket(order, number): Ticket) -> bool {
        number <= self.done[order as usize]
    }

    /// The ticket of the instruction at hand.
    pub fn ticket(&self, effects: &Effects) -> Ticket {
        let order = match effects.unit {
            Unit::Lds => Order::Lds,
            _ if effects.inst.format == Format::Flat => Order::Any,
            _ => Order::Vector,
        };
        Ticket(order, self.issued[order as usize] + 1)
    }

    /// The registers that the instruction uses while they are written.
    pub fn check(&self, effects: &Effects, problems: &mut Vec<Problem>) {
        if self.num_pending == 0 {
            return;
        }
        for &(span, role) in &effects.reads {
            // The old half of a 16-bit load: both loads return in order.
            self.check_span(effects, span, role == Role::Old, "reads", problems);
        }
        for &span in &effects.writes {
            self.check_span(effects, span, true, "overwrites", problems);
        }
    }

    fn check_span(
        &self,
        effects: &Effects,
        span: Span,
        is_ordered: bool,
        verb: &str,
        problems: &mut Vec<Problem>,
    ) {
        for register in span.registers() {
            let Some(flight) = self.pending[register] else { continue };
            let same_order = order(effects) == Some(flight.order) && flight.order != Order::Any;
            if (is_ordered && same_order) || !self.is_in_flight(&flight) {
                continue;
            }
            let text = format!(
                "{verb} {} while a load into it may be under way: put s_waitcnt {} between",
                register_name(register),
                self.remedy(&flight)
            );
            problems.push(Problem { kind: Kind::Wait, lane: None, other: Some(flight.site), text });
            // One register says it all.
            return;
        }
    }

    fn is_in_flight(&self, flight: &Flight) -> bool {
        flight.number > self.done[flight.order as usize]
            || flight.vector_number > self.done[Order::Vector as usize]
    }

    fn remedy(&self, flight: &Flight) -> String {
        let younger = self.issued[flight.order as usize] - flight.number;
        match flight.order {
            _ if flight.vector_number > 0 => "vmcnt(0) lgkmcnt(0)".into(),
            Order::Vector => format!("vmcnt({younger})"),
            Order::Lds => format!("lgkmcnt({younger})"),
            Order::Any => "lgkmcnt(0)".into(),
        }
    }

    /// The wave has executed an instruction.
    pub fn executed(&mut self, effects: &Effects, spaces: Spaces, site: Site) {
        if effects.inst.op == Op::s_waitcnt {
            return self.wait(effects.inst.offset as u32);
        }
        let flight = match effects.unit {
            _ if effects.is_vector_memory() => self.issue_vector(&effects.inst, spaces, site),
            Unit::Lds => self.issue(Order::Lds, site),
            Unit::ScalarMemory => self.issue(Order::Any, site),
            _ => {
                self.land(effects);
                return;
            }
        };
        for span in &effects.writes {
            for register in span.registers() {
                self.num_pending += usize::from(self.pending[register].is_none());
                self.pending[register] = Some(flight);
            }
        }
    }

    /// What is overwritten in spite of everything is reported once.
    fn land(&mut self, effects: &Effects) {
        if self.num_pending == 0 {
            return;
        }
        for register in effects.writes.iter().flat_map(|span| span.registers()) {
            self.num_pending -= usize::from(self.pending[register].take().is_some());
        }
    }

    fn issue_vector(&mut self, inst: &Inst, spaces: Spaces, site: Site) -> Flight {
        let flight = self.issue(Order::Vector, site);
        if inst.format != Format::Flat {
            return flight;
        }
        let other = self.issue(Order::Any, site);
        match spaces {
            Spaces { lds: true, other: true } => Flight { vector_number: flight.number, ..other },
            Spaces { lds: true, other: false } => other,
            _ => flight,
        }
    }

    fn issue(&mut self, order: Order, site: Site) -> Flight {
        self.issued[order as usize] += 1;
        // A full counter holds the next instruction back.
        match order {
            Order::Vector => self.wait_for(order, MAX_VMCNT),
            Order::Lds => self.wait_for(order, MAX_LGKMCNT),
            Order::Any => {}
        }
        Flight { order, number: self.issued[order as usize], vector_number: 0, site }
    }

    fn wait(&mut self, counters: u32) {
        let vmcnt = u64::from(counters & 0xf | counters >> 10 & 0x30);
        let lgkmcnt = u64::from(counters >> 8 & 0xf);
        // The highest value is no wait.
        if vmcnt < MAX_VMCNT {
            self.wait_for(Order::Vector, vmcnt);
        }
        if lgkmcnt < MAX_LGKMCNT {
            self.wait_for(Order::Lds, lgkmcnt);
        }
        if lgkmcnt == 0 {
            self.wait_for(Order::Any, 0);
        }
        if self.done == self.issued {
            self.forget();
        }
    }

    fn wait_for(&mut self, order: Order, left: u64) {
        let order = order as usize;
        self.done[order] = self.done[order].max(self.issued[order].saturating_sub(left));
    }
}

fn order(effects: &Effects) -> Option<Order> {
    match effects.unit {
        _ if effects.is_vector_memory() => Some(Order::Vector),
        Unit::Lds => Some(Order::Lds),
        Unit::ScalarMemory => Some(Order::Any),
        _ => None,
    }
}
