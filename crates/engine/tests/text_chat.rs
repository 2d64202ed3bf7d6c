//! Chat templates render as in transformers, and hostile ones are stopped.

mod text_support;

use engine::text::{
    ChatTemplate, ChatTemplateError, Content, ContentPart, Message, PromptEnd, RenderOptions,
};
use serde::Deserialize;
use serde_json::json;
use text_support::read_json;

#[derive(Deserialize)]
struct Fixture {
    now_unix_s: i64,
    bos_token: String,
    eos_token: String,
    templates: Vec<Template>,
    with_tools: Vec<Template>,
    parts: Parts,
}

#[derive(Deserialize)]
struct Template {
    name: String,
    template: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Vec<Message>,
    #[serde(default)]
    tools: Vec<serde_json::Value>,
    add_generation_prompt: bool,
    prompt: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Parts {
    messages: Vec<Message>,
    as_list: String,
}

fn fixture() -> Fixture {
    read_json("oracles/tokenizer_chat.json")
}

fn render(source: &str) -> Result<String, ChatTemplateError> {
    ChatTemplate::new(source)?.render(&[Message::new("user", "hi")], &RenderOptions::default())
}

fn end(add_generation_prompt: bool) -> PromptEnd {
    if add_generation_prompt { PromptEnd::BeforeAnswer } else { PromptEnd::AfterLastMessage }
}

#[test]
fn templates_render_as_in_transformers() {
    let fixture = fixture();
    let mut num_errors = 0;
    assert!(fixture.templates.len() >= 9 && fixture.with_tools.len() >= 3);
    for Template { name, template, cases } in fixture.templates.iter().chain(&fixture.with_tools) {
        let template = ChatTemplate::new(template).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(cases.len() >= 8);
        for case in cases {
            let options = RenderOptions {
                end: end(case.add_generation_prompt),
                bos_token: Some(&fixture.bos_token),
                eos_token: Some(&fixture.eos_token),
                now_unix_s: Some(fixture.now_unix_s),
                tools: &case.tools,
                ..RenderOptions::default()
            };
            let rendered = template.render(&case.messages, &options);
            match (&case.prompt, &case.error, rendered) {
                (Some(prompt), _, Ok(rendered)) => assert_eq!(&rendered, prompt, "{name}"),
                (_, Some(expected), Err(ChatTemplateError::Raised { message })) => {
                    assert_eq!(&message, expected, "{name}");
                    num_errors += 1;
                }
                (prompt, error, rendered) => {
                    panic!("{name}: expected {prompt:?} or {error:?}, got {rendered:?}")
                }
            }
        }
    }
    assert!(num_errors >= 8, "templates that raise errors did so {num_errors} times");
}

#[test]
fn parts_go_to_templates_that_understand_them_and_are_joined_for_others() {
    let fixture = fixture();
    let source = |name: &str| &fixture.templates.iter().find(|t| t.name == name).unwrap().template;
    let options = RenderOptions { end: PromptEnd::AfterLastMessage, ..RenderOptions::default() };
    let lists = ChatTemplate::new(source("parts")).unwrap();
    assert_eq!(lists.render(&fixture.parts.messages, &options).unwrap(), fixture.parts.as_list);
    let joined = [Message::new("user", "one\ntwo")];
    for name in ["chatml", "headers", "mistral"] {
        let template = ChatTemplate::new(source(name)).unwrap();
        let options = RenderOptions { now_unix_s: Some(0), ..RenderOptions::default() };
        assert_eq!(
            template.render(&fixture.parts.messages, &options).unwrap(),
            template.render(&joined, &options).unwrap(),
            "{name}"
        );
    }
    // Written with its brackets, a list is not understood.
    let printed = ChatTemplate::new("{{ messages[0].content }}").unwrap();
    assert_eq!(printed.render(&fixture.parts.messages, &options).unwrap(), "one\ntwo");
}

#[test]
fn a_prompt_may_end_in_the_text_of_the_last_message() {
    let fixture = fixture();
    let mut num_continued = 0;
    for Template { name, template, cases } in &fixture.templates {
        let template = ChatTemplate::new(template).unwrap();
        for case in cases.iter().filter(|case| case.prompt.is_some() && !case.add_generation_prompt)
        {
            let render = |end| {
                let options = RenderOptions {
                    end,
                    bos_token: Some(&fixture.bos_token),
                    eos_token: Some(&fixture.eos_token),
                    now_unix_s: Some(fixture.now_unix_s),
                    ..RenderOptions::default()
                };
                template.render(&case.messages, &options)
            };
            let Ok(cut) = render(PromptEnd::InLastMessage) else { continue };
            let whole = render(PromptEnd::AfterLastMessage).unwrap();
            let text = case.messages.last().unwrap().text();
            // What templates do to a text (a thought is left out, say) they do to its beginning.
            let end_of_text = &text[text.rfind("\n\n").map_or(0, |at| at + 2)..];
            let is_space = |c: char| c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c);
            let (cut, end_of_text) =
                (cut.trim_end_matches(is_space), end_of_text.trim_matches(is_space));
            assert!(cut.ends_with(end_of_text), "{name}: {cut:?} of {text:?}");
            assert!(whole.starts_with(cut), "{name}: {cut:?} in {whole:?}");
            num_continued += 1;
        }
    }
    assert!(num_continued >= 30, "{num_continued}");
}

#[test]
fn spaces_at_the_end_of_a_continued_text_are_the_templates_affair() {
    let options = RenderOptions { end: PromptEnd::InLastMessage, ..RenderOptions::default() };
    let said = Message::new("assistant", "I think: ");
    for (content, expected) in [
        ("{{ m.content }}", Ok("[I think: ")),
        ("{{ m.content | trim }}", Ok("[I think:")),
        ("{{ m.content | upper }}", Err(())),
        ("{{ m.content }}{{ m.content }}", Err(())),
        ("", Err(())),
    ] {
        let source = format!("{{% for m in messages %}}[{content}]{{% endfor %}}");
        let template = ChatTemplate::new(source).unwrap();
        let rendered = template.render(std::slice::from_ref(&said), &options);
        match (rendered, expected) {
            (Ok(prompt), Ok(expected)) => assert_eq!(prompt, expected),
            (Err(ChatTemplateError::NothingToContinue), Err(())) => {}
            (rendered, _) => panic!("{content}: {rendered:?}"),
        }
    }
    let silent = Message { content: None, ..said };
    let rendered = ChatTemplate::new("x").unwrap().render(&[silent], &options);
    assert!(matches!(rendered, Err(ChatTemplateError::NothingToContinue)), "{rendered:?}");
}

#[test]
fn a_template_gets_the_arguments_and_documents_that_it_has_a_place_for() {
    let source = "{%- for d in documents or [] %}<{{ d.title }}: {{ d.text }}>{% endfor %}\
        {%- if enable_thinking is defined and enable_thinking is false %}quick{% else %}slow{% endif %}\
        {%- if kwargs %}{{ kwargs.a }}{% endif %}{% set own = 1 %}{{ own }}";
    let template = ChatTemplate::new(source).unwrap();
    let render = |args: serde_json::Value, documents: &[serde_json::Value]| {
        let options =
            RenderOptions { args: args.as_object(), documents, ..RenderOptions::default() };
        template.render(&[Message::new("user", "hi")], &options)
    };
    assert_eq!(render(json!({}), &[]).unwrap(), "slow1");
    assert_eq!(render(json!({ "enable_thinking": true }), &[]).unwrap(), "slow1");
    let documents = [json!({ "title": "A", "text": "b" })];
    let args = json!({ "enable_thinking": false, "kwargs": { "a": [1, null] } });
    assert_eq!(render(args, &documents).unwrap(), "<A: b>quick[1, None]1");
    for (name, said) in [("messages", "says it otherwise"), ("own", "does not use `own`")] {
        let error = render(json!({ name: 1 }), &[]).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let error = render(json!({ "enable_thinkin": 1 }), &[]).unwrap_err().to_string();
    assert!(error.contains("its own arguments are enable_thinking, kwargs"), "{error}");
    let plain = ChatTemplate::new("{{ messages[0].content }}{{ range(2) | list }}").unwrap();
    let given = |args: &serde_json::Value, documents: &[serde_json::Value]| {
        let options =
            RenderOptions { args: args.as_object(), documents, ..RenderOptions::default() };
        plain.render(&[Message::new("user", "hi")], &options)
    };
    assert!(matches!(given(&json!({}), &documents), Err(ChatTemplateError::NoDocuments)));
    let error = given(&json!({ "range": 1 }), &[]).unwrap_err().to_string();
    assert!(error.contains("it has no arguments of its own"), "{error}");
}

#[test]
fn a_template_without_a_place_for_tools_is_not_given_any() {
    let fixture = fixture();
    let tools = &fixture.with_tools[0].cases[0].tools;
    let options = RenderOptions { tools, now_unix_s: Some(0), ..RenderOptions::default() };
    for Template { name, template, .. } in fixture.templates.iter().chain(&fixture.with_tools) {
        let template = ChatTemplate::new(template).unwrap();
        let takes_tools = name == "qwen" || name.ends_with("_tools");
        assert_eq!(template.takes_tools(), takes_tools, "{name}");
        let rendered = template.render(&[Message::new("user", "hi")], &options);
        let is_refused = matches!(rendered, Err(ChatTemplateError::NoTools));
        assert_eq!(is_refused, !takes_tools, "{name}: {rendered:?}");
    }
}

#[test]
fn messages_are_read_from_json_strictly() {
    let read = serde_json::from_str::<Message>;
    assert_eq!(
        read(r#"{"role": "user", "content": [{"type": "text", "text": "x"}]}"#).unwrap().content,
        Some(Content::Parts(vec![ContentPart::text("x")]))
    );
    assert_eq!(read(r#"{"role": "user", "content": "x"}"#).unwrap(), Message::new("user", "x"));
    let echoed = r#"{"role": "assistant", "content": null, "refusal": null, "tool_calls":
        [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]}"#;
    let call = &read(echoed).unwrap().tool_calls[0];
    assert_eq!((&*call.id, &*call.function.name), ("1", "f"));
    for (bad, expected) in [
        (r#"{"role": "user"}"#, "content"),
        (r#"{"role": "user", "content": "x", "tool_cals": []}"#, "tool_cals"),
        (r#"{"role": "assistant", "content": null, "tool_calls": []}"#, "content"),
        (r#"{"role": "user", "content": "x", "tool_call_id": "1"}"#, "tool_call_id"),
        (r#"{"role": "assistant", "content": "x", "refusal": "no"}"#, "expected unit"),
        (
            r#"{"role": "user", "content": "x", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}"#,
            "assistant",
        ),
        (
            r#"{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "[1]"}}]}"#,
            "arguments of f",
        ),
        (
            r#"{"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "function": {"name": "f", "arguments": ""}}]}"#,
            "custom",
        ),
        (r#"{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}"#, "image_url"),
        (r#"{"role": "user", "content": 3}"#, "a text or a list of parts"),
    ] {
        let error = read(bad).expect_err(bad).to_string();
        assert!(error.contains(expected), "{bad}: {error}");
    }
}

#[test]
fn the_date_must_be_given() {
    let dates = "{{ strftime_now('%Y') }}";
    let error = render(dates).unwrap_err().to_string();
    assert!(error.contains("strftime_now"), "{error}");
    let template = ChatTemplate::new("{{ strftime_now('%F %T') }}").unwrap();
    let on = |now_unix_s| {
        let options = RenderOptions { now_unix_s: Some(now_unix_s), ..RenderOptions::default() };
        template.render(&[Message::new("user", "")], &options)
    };
    for (now, expected) in [
        (0, "1970-01-01 00:00:00"),
        (-1, "1969-12-31 23:59:59"),
        (951_782_400, "2000-02-29 00:00:00"),
        (4_107_542_399, "2100-02-28 23:59:59"),
        (4_107_542_400, "2100-03-01 00:00:00"),
        (-62_135_596_800, "1-01-01 00:00:00"),
        (253_402_300_799, "9999-12-31 23:59:59"),
    ] {
        assert_eq!(on(now).unwrap(), expected);
    }
    assert!(on(i64::MAX).is_err());
    assert!(render("{{ strftime_now('%Q') }}").is_err());
}

#[test]
fn what_is_unknown_is_named() {
    for (source, expected) in [
        ("{{ messages | pluralize }}", "pluralize"),
        ("{{ messages is prime }}", "prime"),
        ("{{ launch() }}", "launch"),
        ("{{ 'x'.zfill(3) }}", "zfill"),
        ("{% include '/etc/passwd' %}", "including"),
        ("{% import '/etc/passwd' as x %}", "import"),
        ("{% extends 'base' %}", "inheritance"),
        ("{% block a %}{% endblock %}", "blocks"),
        ("{% autoescape true %}{{ 1 }}{% endautoescape %}", "autoescape"),
        ("{{ 1 < messages|length < 3 }}", "chained comparisons"),
        ("{{ '{:>1000000000}'.format('x') }}", "format specifications"),
    ] {
        let error = render(source).expect_err(source).to_string();
        assert!(error.contains(expected), "{source}: {error}");
    }
}

#[test]
fn errors_say_where() {
    for (source, expected) in [
        ("a\n{% if %}", "not valid Jinja (line 2)"),
        ("a\nb\n{{ messages.x.y }}", "failed (line 3)"),
        ("\n{{ 1 + 'a' }}", "failed (line 2)"),
        ("{{ raise_exception('no ' ~ messages[0].content) }}", "refuses these messages: no hi"),
    ] {
        let error = render(source).expect_err(source).to_string();
        assert!(error.contains(expected), "{source}: {error}");
    }
    let template = ChatTemplate::new("x").unwrap();
    let error = template.render(&[], &RenderOptions::default()).unwrap_err();
    assert!(matches!(error, ChatTemplateError::NoMessages));
}

/// Loops that would run for years, texts that would fill any memory, values that contain themselves.
const HOSTILE: &[(&str, &str)] = &[
    (
        "endless loops",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    ),
    (
        "doubling with ~",
        "{% set n = namespace(s='abcdefgh') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    ),
    (
        "doubling with +",
        "{% set n = namespace(s='abcdefgh') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
    ),
    ("repetition", "{{ 'x' * 1000000000000 }}"),
    (
        "repeated repetition",
        "{% set a = 'x' * 90000000 %}{% set b = 'x' * 90000000 %}{{ (a ~ b) | length }}",
    ),
    ("overflowing repetition", "{{ 'xy' * 9223372036854775807 }}"),
    (
        "doubling in a macro",
        "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{% set n = namespace(s='abcdefgh') %}{% for i in range(99) %}{% set n.s = m(n.s) %}{% endfor %}",
    ),
    (
        "doubling in a block",
        "{% set n = namespace(s='abcdefgh') %}{% for i in range(99) %}{% set t %}{{ n.s }}{{ n.s }}{% endset %}{% set n.s = t %}{% endfor %}",
    ),
    (
        "doubling in nested loops",
        "{% set s = 'abcdefgh' %}{% for a in [s~s~s~s~s~s~s~s~s~s] %}{% for b in [a~a~a~a~a~a~a~a~a~a] %}{% for c in [b~b~b~b~b~b~b~b~b~b] %}{% for d in [c~c~c~c~c~c~c~c~c~c] %}{% for e in [d~d~d~d~d~d~d~d~d~d] %}{% for f in [e~e~e~e~e~e~e~e~e~e] %}{% for g in [f~f~f~f~f~f~f~f~f~f] %}{{ g | length }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
    ),
    (
        "captured literal text",
        "{% set t %}{% for a in range(90000) %}LITERAL{% endfor %}{% endset %}{% set n = namespace(s=t) %}{% for i in range(99) %}{% set n.s = n.s.replace('L', n.s) %}{% endfor %}",
    ),
    ("replace", "{% set s = 'a' * 1000000 %}{{ s | replace('a', s) | length }}"),
    ("replace nothing", "{% set s = 'a' * 1000000 %}{{ s.replace('', s) | length }}"),
    ("join", "{% set s = 'a' * 1000000 %}{{ range(100000) | join(s) | length }}"),
    ("join method", "{% set s = 'a' * 1000000 %}{{ s.join(range(100000)) | length }}"),
    ("indent", "{{ 'a\n' * 1000000 | indent(1000000000) }}"),
    ("tojson indent", "{{ [1] | tojson(indent=1000000000) }}"),
    (
        "doubling lists",
        "{% set n = namespace(l=[1, 2]) %}{% for i in range(99) %}{% set n.l = n.l + n.l %}{% endfor %}{{ n.l | length }}",
    ),
    (
        "nested lists",
        "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
    ),
    (
        "nested lists, compared",
        "{% set n = namespace(l=[1], m=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% set n.m = [n.m, n.m] %}{% endfor %}{{ n.l == n.m }}",
    ),
    (
        "nested maps",
        "{% set n = namespace(l={}) %}{% for i in range(60) %}{% set n.l = {'a': n.l, 'b': n.l} %}{% endfor %}{{ n.l | tojson }}",
    ),
    (
        "deep lists",
        "{% set n = namespace(l=[]) %}{% for i in range(90000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}",
    ),
    ("a namespace in itself", "{% set n = namespace() %}{% set n.n = n %}{{ n }}"),
    ("a namespace in a list in itself", "{% set n = namespace() %}{% set n.n = [n] %}{{ n }}"),
    (
        "namespaces in each other",
        "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ a == b }}",
    ),
    ("a namespace in a map", "{% set n = namespace() %}{% set n.n = dict(n=n) %}{{ n }}"),
    ("endless recursion", "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}"),
    ("recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
    (
        "mutual recursion",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    ),
    ("huge range", "{{ range(10000000000) | list }}"),
    (
        "endless output",
        "{% set s = 'x' * 1000000 %}{% for i in range(100000) %}{{ s }}{% endfor %}",
    ),
    (
        "endless reading",
        "{% set s = 'x' * 10000000 %}{% for i in range(100000) %}{% if s == 'y' ~ s %}{% endif %}{% endfor %}",
    ),
    (
        "endless searching",
        "{% set s = 'x' * 10000000 %}{% for i in range(100000) %}{% if 'y' in s %}{% endif %}{% endfor %}",
    ),
    (
        "endless slicing",
        "{% set s = 'x' * 10000000 %}{% for i in range(100000) %}{% if s[-1] == s[1:2] %}{% endif %}{% endfor %}",
    ),
    ("slow stripping", "{% set s = 'x' * 1000000 %}{{ s.strip('abcdefgh' * 100000) }}"),
    ("deep parentheses", "PARENTHESES"),
    ("long template", "LONG"),
];

#[test]
fn hostile_templates_are_stopped_in_bounded_memory() {
    for (name, source) in HOSTILE {
        let source = match *source {
            "PARENTHESES" => format!("{{{{ {}1{} }}}}", "(".repeat(60_000), ")".repeat(60_000)),
            "LONG" => "x".repeat(1 << 20),
            source => source.to_owned(),
        };
        let start = std::time::Instant::now();
        let info = allocation_counter::measure(|| {
            let error = render(&source).expect_err(name);
            assert!(error.to_string().len() < 1000, "{name}: {error}");
        });
        println!("{name}: {:?}, {} bytes", start.elapsed(), info.bytes_max);
        assert!(info.bytes_max < 512 << 20, "{name}: {} bytes were held", info.bytes_max);
    }
}

#[test]
fn long_conversations_are_within_the_limits() {
    let fixture = fixture();
    let text = "A message of usual length, with some words in it. ".repeat(20);
    let messages: Vec<Message> = (0..4000)
        .map(|turn| Message::new(if turn % 2 == 0 { "user" } else { "assistant" }, &*text))
        .collect();
    let looks_back = "{% for m in messages %}{% if messages[loop.index0 - 1].role != m.role and loop.index \
                      <= messages|length %}{{ m.content }}{% endif %}{% endfor %}";
    let templates = fixture.templates.iter().filter(|t| t.name != "python");
    let templates = templates.map(|t| (t.name.as_str(), t.template.as_str()));
    for (name, template) in templates.chain([("looks back", looks_back)]) {
        let options = RenderOptions {
            end: PromptEnd::BeforeAnswer,
            bos_token: Some("<s>"),
            eos_token: Some("</s>"),
            now_unix_s: Some(0),
            ..RenderOptions::default()
        };
        let prompt = ChatTemplate::new(template)
            .and_then(|template| template.render(&messages, &options))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(name == "dates" || prompt.len() > 4000 * (text.len() - 1), "{name}");
    }
}
