//! Wait states: instructions that must not follow each other too closely, because the hardware does not look (manual,
//! tables 11 and 37; LLVM's hazard recogniser where the two differ). An instruction is one wait state, `s_nop` N is
//! N + 1.

use super::effects::{Class, Effects, NUM_REGISTERS, Role, Span};
use super::matrix::Matrix;
use super::problem::{Problem, Site};
use super::{Kind, register_name};
use crate::isa::{Extra, Flags, Format, Op, Operand, traits};

/// The most wait states that anything asks for.
const MAX_STATES: u64 = 19;

/// What matters of an instruction after it was issued.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Writer {
    #[default]
    Nobody,
    Scalar,
    Vector {
        is_transcendental: bool,
        /// The result is at other bits than it is computed at.
        is_shifted: bool,
        dot: Option<Op>,
    },
    Matrix(Matrix),
    Other,
}

/// What happened to a register last.
#[derive(Clone, Copy, Default, Debug)]
struct Event {
    /// The wait states before the instruction that follows.
    end: u64,
    site: Site,
    writer: Writer,
}

/// A demand for wait states.
struct Demand<'a> {
    states: u32,
    event: Event,
    what: &'a str,
    register: usize,
}

/// The instructions that a wave issued.
pub(super) struct States {
    time: u64,
    writes: Box<[Event]>,
    /// Matrix instructions that read the register as C.
    addends: Box<[Event]>,
    /// Stores of more than 64 bits that read the register.
    stores: Box<[Event]>,
    set_hardware_registers: [Event; 64],
    last_double_matrix: Event,
}

impl Default for States {
    fn default() -> Self {
        let events = || vec![Event::default(); NUM_REGISTERS].into_boxed_slice();
        Self {
            time: MAX_STATES,
            writes: events(),
            addends: events(),
            stores: events(),
            set_hardware_registers: [Event::default(); 64],
            last_double_matrix: Event::default(),
        }
    }
}

impl States {
    pub fn start(&mut self) {
        self.time += MAX_STATES;
    }

    /// What follows too closely on what it depends on.
    pub fn check(&self, effects: &Effects, problems: &mut Vec<Problem>) {
        for &(span, role) in &effects.reads {
            for register in span.registers() {
                let event = self.writes[register];
                if self.time - event.end >= MAX_STATES {
                    continue;
                }
                let (states, what) = read_demand(effects, span, role, &event.writer);
                self.demand(Demand { states, event, what, register }, problems);
            }
        }
        for register in effects.writes.iter().flat_map(|span| span.registers()) {
            self.check_write(effects, register, problems);
        }
        self.check_implicit(effects, problems);
    }

    fn check_write(&self, effects: &Effects, register: usize, problems: &mut Vec<Problem>) {
        let event = self.writes[register];
        if self.time - event.end < MAX_STATES {
            let states = match &event.writer {
                Writer::Matrix(matrix) if effects.class != Class::Matrix => {
                    matrix.until_vector_writes()
                }
                Writer::Vector { dot: Some(dot), .. } if effects.inst.op != *dot => 3,
                _ => 0,
            };
            let what = "overwrites what may not be written yet,";
            self.demand(Demand { states, event, what, register }, problems);
        }
        if effects.class != Class::Vector {
            return;
        }
        let event = self.addends[register];
        if let Writer::Matrix(matrix) = &event.writer {
            let (states, what) = (matrix.until_addend_is_read(), "overwrites C while it is read,");
            self.demand(Demand { states, event, what, register }, problems);
        }
        let event = self.stores[register];
        if event.writer != Writer::Nobody {
            let what = "overwrites what is being stored,";
            self.demand(Demand { states: 2, event, what, register }, problems);
        }
    }

    /// Dependences that are not through operands.
    fn check_implicit(&self, effects: &Effects, problems: &mut Vec<Problem>) {
        let inst = &effects.inst;
        let exec = usize::from(Operand::EXEC.0);
        let event = self.writes[exec];
        if matches!(event.writer, Writer::Vector { .. }) {
            let states = match inst.op {
                _ if effects.class == Class::Matrix => 4,
                _ if matches!(inst.extra, Extra::Dpp(_)) => 5,
                Op::v_readlane_b32 | Op::v_readfirstlane_b32 | Op::v_writelane_b32 => 4,
                _ if effects.class == Class::Vector && inst.src.contains(&Operand::EXECZ) => 5,
                _ => 0,
            };
            let what = "needs EXEC, which a vector instruction writes:";
            self.demand(Demand { states, event, what, register: exec }, problems);
        }
        let vcc = usize::from(Operand::VCC.0);
        let event = self.writes[vcc];
        let reads_vccz = effects.class == Class::Vector && inst.src.contains(&Operand::VCCZ);
        if reads_vccz && matches!(event.writer, Writer::Vector { .. }) {
            let what = "reads vccz,";
            self.demand(Demand { states: 5, event, what, register: vcc }, problems);
        }
        if matches!(inst.op, Op::v_fma_f64 | Op::v_fmac_f64) {
            let (event, what) = (self.last_double_matrix, "follows an f64 matrix instruction:");
            let register = usize::from(inst.dst.0).min(NUM_REGISTERS - 1);
            self.demand(Demand { states: 2, event, what, register }, problems);
        }
        if let Some(id) = hardware_register(effects) {
            let event = self.set_hardware_registers[id];
            self.demand_of("touches a hardware register that s_setreg writes:", 2, event, problems);
        }
    }

    fn demand(&self, demand: Demand<'_>, problems: &mut Vec<Problem>) {
        let Demand { states, event, what, register } = demand;
        if u64::from(states) > self.time - event.end {
            let what = format!("{what} {}:", register_name(register));
            self.demand_of(what.trim_end_matches("::"), states, event, problems);
        }
    }

    fn demand_of(&self, what: &str, states: u32, event: Event, problems: &mut Vec<Problem>) {
        let found = self.time - event.end;
        if event.writer == Writer::Nobody || u64::from(states) <= found {
            return;
        }
        let what = what.trim_end_matches(':');
        let nop = u64::from(states) - found - 1;
        let text = format!(
            "{what}: {states} wait states are needed, there are {found}: put s_nop {nop} or more between"
        );
        let known = problems.iter_mut().find(|problem: &&mut Problem| {
            problem.kind == Kind::WaitStates && problem.other == Some(event.site)
        });
        if known.is_none() {
            let (kind, other) = (Kind::WaitStates, Some(event.site));
            problems.push(Problem { kind, lane: None, other, text });
        }
    }

    /// The wave has issued an instruction.
    pub fn executed(&mut self, effects: &Effects, site: Site) {
        let inst = &effects.inst;
        self.time += if inst.op == Op::s_nop { u64::from(inst.offset as u32 & 0xf) + 1 } else { 1 };
        let writer = writer(effects);
        let event = Event { end: self.time, site, writer };
        for register in effects.writes.iter().flat_map(|span| span.registers()) {
            self.writes[register] = event;
        }
        if let Writer::Matrix(matrix) = &writer {
            if matrix.is_double {
                self.last_double_matrix = event;
            }
            for register in addend(effects).into_iter().flat_map(Span::registers) {
                self.addends[register] = event;
            }
        }
        if let Some(data) = wide_store(effects) {
            for register in data.registers() {
                self.stores[register] = event;
            }
        }
        if matches!(inst.op, Op::s_setreg_b32 | Op::s_setreg_imm32_b32) {
            self.set_hardware_registers[inst.offset as usize & 63] = event;
        }
    }
}

fn writer(effects: &Effects) -> Writer {
    match effects.class {
        Class::Scalar => Writer::Scalar,
        Class::Vector => Writer::Vector {
            is_transcendental: effects.is_transcendental(),
            is_shifted: effects.shifts_result,
            dot: effects.is_dot().then_some(effects.inst.op),
        },
        Class::Matrix => Matrix::of(effects).map_or(Writer::Other, Writer::Matrix),
        _ => Writer::Other,
    }
}

/// The registers that a matrix instruction reads as C.
pub(super) fn addend(effects: &Effects) -> Option<Span> {
    let is_sparse = effects.inst.op.info().has(traits::SPARSE);
    effects.reads_as(if is_sparse { Role::Old } else { Role::Source(2) }).next()
}

/// The data of a store of more than 64 bits, unless it is one with an offset in an SGPR.
fn wide_store(effects: &Effects) -> Option<Span> {
    let inst = &effects.inst;
    let is_buffer = matches!(inst.format, Format::Mubuf | Format::Mtbuf);
    if !effects.is_vector_memory() || (is_buffer && inst.src[3].is_scalar_register()) {
        return None;
    }
    effects.reads_as(Role::Data).find(|span| span.len > 2)
}

fn hardware_register(effects: &Effects) -> Option<usize> {
    let inst = &effects.inst;
    let is_access = matches!(inst.op, Op::s_getreg_b32 | Op::s_setreg_b32 | Op::s_setreg_imm32_b32);
    is_access.then_some(inst.offset as usize & 63)
}

/// The wait states between the writer of a register and an instruction that reads it in `span` as `role`.
fn read_demand(effects: &Effects, span: Span, role: Role, writer: &Writer) -> (u32, &'static str) {
    match writer {
        Writer::Matrix(matrix) => (matrix.until_read(effects, span, role), "reads the result in"),
        Writer::Vector { .. } if span.is_scalar() => after_vector_scalar(effects, role),
        Writer::Vector { is_transcendental, is_shifted, dot } => {
            let states = after_vector(effects, role, *is_transcendental, *is_shifted, *dot);
            (states, "reads the result in")
        }
        Writer::Scalar if span.first == Operand::M0.0 && waits_for_m0(effects) => (1, "needs"),
        _ => (0, ""),
    }
}

/// After vector arithmetic wrote a VGPR.
fn after_vector(
    effects: &Effects,
    role: Role,
    is_transcendental: bool,
    is_shifted: bool,
    dot: Option<Op>,
) -> u32 {
    if let Some(dot) = dot {
        let accumulates = matches!(role, Role::Source(2) | Role::Old);
        return if effects.inst.op == dot && accumulates { 0 } else { 3 };
    }
    let is_vector = effects.class == Class::Vector;
    let is_lane_read = matches!(effects.inst.op, Op::v_readlane_b32 | Op::v_readfirstlane_b32);
    match effects.class {
        Class::Matrix => 2,
        Class::Vector if matches!(effects.inst.extra, Extra::Dpp(_)) && role == Role::Source(0) => {
            2
        }
        _ if is_vector && is_transcendental && !effects.is_transcendental() => 1,
        _ if is_vector && (is_shifted || is_lane_read) => 1,
        _ => 0,
    }
}

/// After vector arithmetic wrote a scalar register.
fn after_vector_scalar(effects: &Effects, role: Role) -> (u32, &'static str) {
    match (effects.class, role) {
        (Class::VectorMemory, _) => (5, "needs"),
        (Class::Vector, Role::Select) => (4, "selects by"),
        (Class::Vector, Role::Mask) => {
            let divides = matches!(effects.inst.op, Op::v_div_fmas_f32 | Op::v_div_fmas_f64);
            (if divides { 4 } else { 0 }, "reads")
        }
        (Class::Vector | Class::Matrix, _) => (2, "reads"),
        _ => (0, ""),
    }
}

/// Whether the hardware does not look whether M0 is being written.
fn waits_for_m0(effects: &Effects) -> bool {
    let inst = &effects.inst;
    matches!(
        inst.op,
        Op::s_sendmsg
            | Op::s_sendmsghalt
            | Op::s_ttracedata
            | Op::s_movrels_b32
            | Op::s_movrels_b64
            | Op::s_movreld_b32
            | Op::s_movreld_b64
            | Op::ds_read_addtid_b32
            | Op::ds_write_addtid_b32
    ) || inst.flags.has(Flags::GDS)
        || inst.op.name().starts_with("ds_gws")
        || effects.loads_to_lds()
}
