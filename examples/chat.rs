//! A conversation on the command line: `cargo run --release --example chat [MODEL]`.

use std::error::Error;
use std::io::{self, BufRead, Write};

use kvasir::{Llm, Message, Prompt, SamplingParams, hub};

fn main() -> Result<(), Box<dyn Error>> {
    let model = std::env::args().nth(1).unwrap_or_else(|| "smollm2-135m".to_owned());
    let mut llm = Llm::builder(hub::resolve(&model, &hub::Quiet)?).build()?;
    let params = SamplingParams { max_tokens: 256, temperature: 0.0, ..SamplingParams::default() };
    let mut conversation = Vec::new();
    eprintln!("Ask something; an empty line ends the conversation.");
    for question in io::stdin().lock().lines() {
        let question = question?;
        if question.trim().is_empty() {
            break;
        }
        conversation.push(Message::new("user", question));
        let answer = answer(&mut llm, conversation.clone(), &params)?;
        conversation.push(Message::new("assistant", answer));
    }
    Ok(())
}

/// Prints the answer as it comes and returns it.
fn answer(
    llm: &mut Llm,
    conversation: Vec<Message>,
    params: &SamplingParams,
) -> Result<String, Box<dyn Error>> {
    llm.add_request(Prompt::from(conversation), params.clone())?;
    let mut text = String::new();
    while llm.has_unfinished() {
        for update in llm.step() {
            print!("{}", update.text_delta);
            io::stdout().flush()?;
            text.push_str(&update.text_delta);
        }
    }
    println!();
    Ok(text)
}
