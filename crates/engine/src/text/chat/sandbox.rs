//! Running a template that is not trusted.
//!
//! minijinja limits the number of instructions (fuel) and the depth of recursion, but one instruction may
//! double a text, and thirty of them make it a gigabyte. So a template's instructions are changed before
//! they run: each that makes data of any size, or reads all of its operands, becomes a call of a function
//! that pays from the [`Budget`] first; literal text becomes a value that is written like any other, past
//! the formatter, which pays as well. What cannot be paid for that way is refused: inheritance, blocks,
//! includes, chained comparisons, automatic escaping.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minijinja::machinery::{self, Instruction, Instructions};
use minijinja::{AutoEscape, Environment, State, UndefinedBehavior, Value};

use super::budget::Budget;
use super::error::limit_error;
use super::json::from_json;
use super::operators::names;
use super::python::write_str;
use super::{ChatTemplateError, PromptEnd, RenderOptions, filters, methods, operators};

/// Instructions every template may run, and more for each message and tool.
const BASE_FUEL: u64 = 500_000;
const FUEL_PER_INPUT: u64 = 5_000;
/// Depth of nested macros, loops and conditions; a macro counts as four.
const RECURSION_LIMIT: usize = 200;
/// Largest prompt.
const MAX_PROMPT_BYTES: usize = 16 << 20;
/// A filter slot that means "look the filter up by name".
const NO_SLOT: u8 = u8::MAX;
/// What the template is called in minijinja's messages.
const NAME: &str = "chat_template";

/// Variables that a template gets for what a request has fields for, or from the tokenizer.
pub(super) const GIVEN: [&str; 6] =
    ["messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"];

/// Variables that `source` reads from outside; functions are none.
pub(super) fn variables(source: &str) -> Result<BTreeSet<String>, ChatTemplateError> {
    let environment = environment(&Arc::new(Budget::new(&[])?), None)?;
    let template = environment.template_from_named_str(NAME, source)?;
    let mut variables: BTreeSet<String> =
        template.undeclared_variables(false).into_iter().collect();
    environment.globals().for_each(|(name, _)| {
        variables.remove(name);
    });
    Ok(variables)
}

/// Compiles `source` and refuses what could not be run.
pub(super) fn check(source: &str) -> Result<(), ChatTemplateError> {
    let environment = environment(&Arc::new(Budget::new(&[])?), None)?;
    compile(&environment, source).map(drop)
}

/// Renders `source`.
pub(super) fn render(
    source: &str,
    messages: Vec<Value>,
    options: &RenderOptions<'_>,
) -> Result<String, ChatTemplateError> {
    let tools: Vec<Value> = options.tools.iter().map(from_json).collect();
    let documents: Vec<Value> = options.documents.iter().map(from_json).collect();
    let args: Vec<(&str, Value)> = options
        .args
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), from_json(value)))
        .collect();
    let inputs = messages.iter().chain(&tools).chain(&documents);
    let inputs: Vec<Value> = inputs.chain(args.iter().map(|(_, value)| value)).cloned().collect();
    let budget = Arc::new(Budget::new(&inputs)?);
    let mut environment = environment(&budget, options.now_unix_s)?;
    environment.set_fuel(Some(BASE_FUEL + FUEL_PER_INPUT * inputs.len() as u64));
    let context = context(messages, tools, documents, args, options);
    let instructions = compile(&environment, source)?;
    let mut prompt = String::new();
    machinery::eval(
        &environment,
        &instructions,
        context,
        &BTreeMap::new(),
        &mut machinery::make_string_output(&mut prompt),
        AutoEscape::None,
    )?;
    if prompt.len() > MAX_PROMPT_BYTES {
        return Err(limit_error(format!(
            "its output has {} bytes, more than the limit of {MAX_PROMPT_BYTES}",
            prompt.len()
        ))
        .into());
    }
    Ok(prompt)
}

/// What transformers passes to a template.
fn context<'a>(
    messages: Vec<Value>,
    tools: Vec<Value>,
    documents: Vec<Value>,
    args: Vec<(&'a str, Value)>,
    options: &RenderOptions<'a>,
) -> Value {
    let list = |values: Vec<Value>| match values.is_empty() {
        true => Value::from(()),
        false => Value::from(values),
    };
    let mut context = vec![
        ("messages", Value::from(messages)),
        ("tools", list(tools)),
        ("documents", list(documents)),
        ("add_generation_prompt", Value::from(options.end == PromptEnd::BeforeAnswer)),
    ];
    for (name, token) in [("bos_token", options.bos_token), ("eos_token", options.eos_token)] {
        context.extend(token.map(|token| (name, Value::from(token))));
    }
    context.extend(args);
    Value::from_pairs(context)
}

/// An environment with the syntax of transformers, and with nothing in it but what is paid for.
fn environment(
    budget: &Arc<Budget>,
    now_unix_s: Option<i64>,
) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::empty();
    environment.set_syntax(
        environment.syntax().to_builder().trim_blocks(true).lstrip_blocks(true).build()?,
    );
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_recursion_limit(RECURSION_LIMIT);
    filters::add(&mut environment, budget, now_unix_s);
    operators::add(&mut environment, budget);
    methods::add(&mut environment, budget);
    let budget = Arc::clone(budget);
    environment.set_formatter(move |out, _: &mut State, value: &Value| {
        let mut text = String::new();
        write_str(&mut text, value, &budget)?;
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    Ok(environment)
}

/// Compiles `source` and makes its instructions pay.
fn compile<'e>(
    environment: &'e Environment<'e>,
    source: &'e str,
) -> Result<Instructions<'e>, ChatTemplateError> {
    let template = environment.template_from_named_str(NAME, source)?;
    let compiled = machinery::get_compiled_template(&template);
    if !compiled.blocks.is_empty() {
        return Err(unsupported("blocks", None));
    }
    let original = &compiled.instructions;
    let mut steps = Vec::new();
    // Where each original instruction is found among the new ones.
    let mut places = Vec::new();
    for at in 0.. {
        let Some(instruction) = original.get(at) else {
            break;
        };
        places.push(steps.len() as u32);
        for step in priced(instruction).map_err(|what| unsupported(what, original.get_line(at)))? {
            steps.push((at, step));
        }
    }
    places.push(steps.len() as u32);
    let mut instructions = Instructions::new(NAME, source);
    for (at, mut step) in steps {
        relocate(&mut step, &places);
        match (original.get_span(at), original.get_line(at)) {
            (Some(span), _) => instructions.add_with_span(step, span),
            (None, Some(line)) => instructions.add_with_line(step, line as u16),
            (None, None) => instructions.add(step),
        };
    }
    Ok(instructions)
}

fn unsupported(feature: &str, line: Option<usize>) -> ChatTemplateError {
    ChatTemplateError::Unsupported { feature: feature.into(), line }
}

/// The instructions that do what `instruction` does, and pay for it. The name of the feature if it is one
/// that is not supported.
///
/// The list is complete on purpose: a minijinja with a new instruction must not compile before somebody
/// has thought about what that instruction costs.
fn priced<'e>(instruction: &Instruction<'e>) -> Result<Vec<Instruction<'e>>, &'static str> {
    use Instruction as I;
    let call = |name, num_args| I::ApplyFilter(name, Some(num_args), NO_SLOT);
    Ok(match instruction {
        I::EmitRaw(text) => vec![I::LoadConst(Value::from(*text)), I::Emit],
        I::StringConcat => vec![call(names::CONCAT, 2)],
        I::Add => vec![call(names::ADD, 2)],
        I::Mul => vec![call(names::MUL, 2)],
        I::Eq => vec![call(names::EQ, 2)],
        I::Ne => vec![call(names::NE, 2)],
        I::Lt => vec![call(names::LT, 2)],
        I::Lte => vec![call(names::LE, 2)],
        I::Gt => vec![call(names::GT, 2)],
        I::Gte => vec![call(names::GE, 2)],
        I::In => vec![call(names::IN, 2)],
        I::GetItem => vec![call(names::ITEM, 2)],
        I::Slice => vec![call(names::SLICE, 4)],
        I::PushLoop(flags) => vec![call(names::LOOP, 1), I::PushLoop(*flags)],
        I::SetAttr(name) => vec![I::Swap, call(names::PART, 1), I::Swap, I::SetAttr(name)],
        I::BuildMap(_) | I::BuildList(_) | I::BuildTuple(_) => {
            vec![instruction.clone(), call(names::BUILT, 1)]
        }
        I::CompareAndPreserve(_) => return Err("chained comparisons (a < b < c)"),
        I::CallMethod("changed", _) => return Err("loop.changed()"),
        I::PushAutoEscape | I::PopAutoEscape => return Err("{% autoescape %}"),
        I::LoadBlocks | I::CallBlock(_) | I::FastSuper => return Err("template inheritance"),
        I::Include(_) | I::ExportLocals => return Err("including or importing other templates"),
        I::StoreLocal(_)
        | I::Lookup(_)
        | I::GetAttr(_)
        | I::LoadConst(_)
        | I::BuildKwargs(_)
        | I::MergeKwargs(_)
        | I::UnpackList(_)
        | I::UnpackLists(_)
        | I::Sub
        | I::Div
        | I::IntDiv
        | I::Rem
        | I::Pow
        | I::Neg
        | I::Not
        | I::ApplyFilter(..)
        | I::PerformTest(..)
        | I::Emit
        | I::PushWith
        | I::Iterate(_)
        | I::PushDidNotIterate
        | I::PopFrame
        | I::PopLoopFrame
        | I::Jump(_)
        | I::JumpIfFalse(_)
        | I::JumpIfFalseOrPop(_)
        | I::JumpIfTrueOrPop(_)
        | I::BeginCapture(_)
        | I::EndCapture
        | I::CallFunction(..)
        | I::CallMethod(..)
        | I::CallObject(_)
        | I::DupTop
        | I::DiscardTop
        | I::FastRecurse
        | I::Swap
        | I::BuildMacro(..)
        | I::Return
        | I::IsUndefined
        | I::Enclose(_)
        | I::GetClosure => vec![instruction.clone()],
    })
}

/// Points a jump to where its target is now.
fn relocate(instruction: &mut Instruction<'_>, places: &[u32]) {
    if let Instruction::Iterate(target)
    | Instruction::Jump(target)
    | Instruction::JumpIfFalse(target)
    | Instruction::JumpIfFalseOrPop(target)
    | Instruction::JumpIfTrueOrPop(target)
    | Instruction::BuildMacro(_, target, _) = instruction
        && let Some(place) = places.get(*target as usize)
    {
        *target = *place;
    }
}
