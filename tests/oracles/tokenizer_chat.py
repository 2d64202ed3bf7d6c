"""Makes the chat template fixture: prompts as Jinja2 renders them, set up as transformers sets it up.

    python tokenizer_chat.py --out FOLDER

transformers (`utils/chat_template_utils.py`, 5.23) uses an immutable sandbox with `trim_blocks`,
`lstrip_blocks`, loop controls, a `generation` block, its own `tojson`, `raise_exception` and
`strftime_now`. Importing it would bring hundreds of megabytes for those few lines.

The templates are written for this test, in the styles of known families.
"""

import datetime
import json

import jinja2
import jinja2.ext
import jinja2.sandbox

import _fixtures

NOW = 1_709_212_345  # 2024-02-29 13:12:25 UTC



class Generation(jinja2.ext.Extension):
    """`{% generation %}`: a scope, when no training mask is asked for."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("render"), [], [], body).set_lineno(line)

    def render(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def strftime_now(directives):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(directives)


ENVIRONMENT = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals["raise_exception"] = raise_exception
ENVIRONMENT.globals["strftime_now"] = strftime_now

CHATML = """{% for message in messages %}
{% if loop.first and message['role'] != 'system' %}
{{ '<|im_start|>system\\nBe brief.<|im_end|>\\n' }}
{% endif %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

INST = """{% if messages[0]['role'] == 'system' %}
    {% set rest = messages[1:] %}{% set system = messages[0]['content'] %}
{% else %}
    {% set rest = messages %}{% set system = false %}
{% endif %}
{% for message in rest %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('roles must take turns: user, assistant, user, ...') }}
    {% endif %}
    {% if loop.index0 == 0 and system != false %}
        {% set text = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}
    {% else %}
        {% set text = message['content'] %}
    {% endif %}
    {% if message['role'] == 'user' %}
        {{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}
    {% elif message['role'] == 'assistant' %}
        {{ ' ' + text.strip() + ' ' + eos_token }}
    {% endif %}
{% endfor %}"""

HEADERS = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{%- if messages[0].role == 'system' %}
    {%- set system = messages[0].content | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|header|>system<|/header|>\\n\\nToday is " + date_string + "\\n" + system + "<|eot|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|header|>' + message['role'] + '<|/header|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|header|>assistant<|/header|>\\n\\n' }}
{%- endif %}
"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("user and assistant must alternate") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {%- if message.tool_calls is defined and message.tool_calls is not none %}
            {{- raise_exception("no tools here") }}
        {%- endif %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- else %}
        {{- raise_exception("only user and assistant, not " + message["role"] + "!") }}
    {%- endif %}
{%- endfor %}
"""

QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n' + (tools | tojson) + '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and not (message.content.startswith('<answer>') and message.content.endswith('</answer>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

PARTS = """{%- for message in messages -%}
<{{ message.role }}>
{%- if message.content is string %}{{ message.content }}
{%- else %}
    {%- for part in message.content %}
        {%- if part.type == 'text' %}[{{ part.text }}]{% endif %}
    {%- endfor %}
{%- endif %}
{%- endfor -%}"""

GENERATION = """{% for message in messages %}
{% if message.role == 'assistant' %}
<a>{% generation %}{{ message.content }}{% set inner = 1 %}{% endgeneration %}</a>{{ inner is defined }}
{% else %}
{%- generation -%}
<u>{{ message.content }}</u>
{%- endgeneration %}

{% endif %}
{% endfor %}"""

PYTHON = """{# How Python and Jinja2 write and do things. #}
{{ true }} {{ none }} {{ 1.0 }} {{ 1e16 }} {{ 1.5e-7 }} {{ 0.1 + 0.2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 2 ** 10 }} {{ -7 % 3 }}
{{ [1, 'two', "it's", none, true, 2.5, [3], {'k': 'v'}, (1, 2)] }} {{ {'a': 1, 'b': "\\n\\t\\\\"} }}
{{ 'a' ~ 1 ~ true ~ none ~ 2.0 ~ [1] ~ missing }}|{{ missing }}|{{ missing is defined }}
{{ 'x' * 3 }} {{ 3 * 'y' }} {{ [1] + [2, 3] }} {{ 'b' in 'abc' }} {{ 2 in [1, 2] }} {{ 'k' in {'k': 1} }} {{ 4 not in [1] }}
{{ 'abcdef'[1:4] }} {{ 'abcdef'[::-1] }} {{ 'abcdef'[-2:] }} {{ [1, 2, 3, 4][::2] }} {{ [1, 2, 3][5:] }} {{ 'abc'[1] }} {{ [1, 2, 3][-1] }} {{ 'abcdef'[4:1:-2] }}
{{ '  \\x1c padded \\n' | trim }}|{{ '  both  '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a-b-c'.split('-', 1) }}
{{ 'Hello World'.upper() }} {{ 'ÄÖ'.lower() }} {{ 'hello world'.title() }} {{ 'hELLO'.capitalize() }} {{ 'a.b'.replace('.', '->') }} {{ 'aaa'.replace('a', 'b', 2) }}
{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'banana'.count('an') }} {{ 'banana'.find('n') }} {{ 'banana'.rfind('z') }} {{ ', '.join(['a', 'b']) }} {{ 'prefix-x'.removeprefix('prefix-') }}
{{ [3, 1, 2] | sort }} {{ [1, 2, 3] | sum }} {{ ['a', 'b'] | join('+') }} {{ [1, true, none, 2.0] | join(' ') }} {{ [1, 2, 2] | unique | list }} {{ 'abc' | list }} {{ [1, 2] | reverse | list }} {{ 'abc' | reverse }}
{{ messages | map(attribute='role') | list }} {{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | first }} {{ messages | rejectattr('role', 'eq', 'user') | list | length }}
{{ {'b': 1, 'a': 2} | items | list }} {{ {'b': 1, 'a': 2} | dictsort }} {{ {'b': 1, 'a': [1, {'x': none}]} | tojson }} {{ {'b': 1, 'a': 2}.items() | list }} {{ {'b': 1}.get('z', 'default') }} {{ {'b': 1}.keys() | list }}
{{ {'ü': '<&>\\u2028"', 'n': [1.0, true, none, 1e100]} | tojson }} {{ ['é', 1] | tojson(ensure_ascii=true) }} {{ {'b': [], 'a': {}, 'c': [1, {'d': 2}]} | tojson(indent=2) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}
{{ 'one\\ntwo\\n\\nthree' | indent(4) }} {{ 'one\\ntwo' | indent(2, true) }} {{ missing | default('d') }} {{ '' | default('d', true) }} {{ 3.7 | int }} {{ '42' | int + 1 }} {{ 3.14159 | round(2) }} {{ -3 | abs }} {{ 5 | string + '5' }} {{ '<b>' | e }}
{% set ns = namespace(total=0, seen=[]) %}{% for i in range(1, 10, 2) %}{% if i == 7 %}{% break %}{% endif %}{% if i == 3 %}{% continue %}{% endif %}{% set ns.total = ns.total + i %}{% set ns.seen = ns.seen + [i] %}{% endfor %}{{ ns.total }} {{ ns.seen }}
{% macro wrap(text, mark='*') %}{{ mark ~ text ~ mark }}{% endmacro %}{{ wrap('hi') }} {{ wrap('yo', mark='_') }} {% call wrap2() %}body{% endcall %}{% set block %}captured {{ 1 + 1 }}{% endset %}{{ block }}
{% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}={{ v }}{{ ', ' if not loop.last }}{% endfor %} {% for x in [] %}never{% else %}empty{% endfor %} {% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}:{{ x }} {% endfor %}
{{ 'yes' if messages else 'no' }} {{ (none or 'fallback') }} {{ 1 if false }} {{ not true }} {{ 3 > 2 and 2 >= 2 }} {{ 'a' < 'b' }} {{ none is none }} {{ 4 is even }} {{ 9 is divisibleby(3) }} {{ {} is mapping }} {{ 'x' is string }} {{ [1] is iterable }} {{ 1 is number }} {{ 1.5 is float }} {{ true is boolean }}
{% raw %}{{ not rendered }} {% if %}{% endraw %}  {%- if true +%}
  kept
{%- endif %}
""".replace("{% call wrap2() %}body{% endcall %}", "{% filter upper %}shout{% endfilter %}")

HERMES_TOOLS = """{%- if tools %}
    {{- '<|im_start|>system\\nCall functions.\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' + (tool | tojson) }}
    {%- endfor %}
    {{- '\\n</tools><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' and message.tool_calls %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for call in message.tool_calls %}
            {%- set call = call.function %}
            {{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' + (call.arguments | tojson) + '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

LLAMA3_TOOLS = """{{- bos_token }}
{%- if tools is not none %}
    {{- '<|header|>system<|/header|>\\n\\nEnvironment: ipython\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson(indent=4) }}
        {{- '\\n\\n' }}
    {%- endfor %}
    {{- '<|eot|>' }}
{%- endif %}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception('one call at once') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|header|>assistant<|/header|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson }}
        {{- '}<|eot|>' }}
    {%- elif message.role == 'tool' or message.role == 'ipython' %}
        {{- '<|header|>ipython<|/header|>\\n\\n' }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- '<|eot|>' }}
    {%- else %}
        {{- '<|header|>' + message.role + '<|/header|>\\n\\n' + message.content | trim + '<|eot|>' }}
    {%- endif %}
{%- endfor %}"""

MISTRAL_TOOLS = """{{- bos_token }}
{%- set user_messages = messages | selectattr('role', 'equalto', 'user') | list %}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- '[AVAILABLE_TOOLS] [' }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != 'return' %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}{{- ', ' }}{%- endif %}
                {%- endfor %}
                {{- '}}' }}
                {%- if not loop.last %}{{- ', ' }}{%- else %}{{- ']' }}{%- endif %}
            {%- endfor %}
            {{- '[/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {{- '[INST] ' + message['content'] + '[/INST]' }}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- '[TOOL_CALLS] [' }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function|tojson %}
            {{- out[:-1] }}
            {%- if call.id|length < 5 %}
                {{- raise_exception('an id is too short') }}
            {%- endif %}
            {{- ', "id": "' + call.id + '"}' }}
            {%- if not loop.last %}{{- ', ' }}{%- else %}{{- ']' + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token }}
    {%- elif message['role'] == 'tool' %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content|string + ', "call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}"""

DATES = "{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%d %B %Y, %A; %a %b %-d; day %j; %H:%M:%S %I %p %y%%') }}"

TEMPLATES = {
    "chatml": CHATML,
    "inst": INST,
    "headers": HEADERS,
    "mistral": MISTRAL,
    "qwen": QWEN,
    "parts": PARTS,
    "generation": GENERATION,
    "python": PYTHON,
    "dates": DATES,
}

TEMPLATES_WITH_TOOLS = {
    "hermes_tools": HERMES_TOOLS,
    "llama3_tools": LLAMA3_TOOLS,
    "mistral_tools": MISTRAL_TOOLS,
}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "How it's outside, in \u00b0C or \"F\"",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}},
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
]


def say(*turns):
    return [{"role": role, "content": content} for role, content in turns]


CONVERSATIONS = [
    say(("user", "Hello!")),
    say(("system", "You are a pirate. "), ("user", "  Who are you?\n")),
    say(("user", "1 + 1?"), ("assistant", "2"), ("user", "Really?\n\nSure? 😀")),
    say(
        ("system", "Think."),
        ("user", "Why {{ this }} {% that %}?"),
        ("assistant", "<think>\nhm <b> & 'quotes' \"double\"\n</think>\n\nBecause."),
        ("user", "<answer>42</answer>"),
        ("assistant", "<think>\nmore\n</think>\n\nDone.\n"),
    ),
    say(("assistant", "I go first."), ("assistant", "And again.")),
    say(("tool", "result"), ("user", "ünïcödé \u2028 \x1c")),
]


def call(id, name, arguments):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def conversations_with_tools():
    asked = say(("user", "Rain in Z\u00fcrich?"))
    one = {"role": "assistant", "content": None}
    one["tool_calls"] = [call("a23456789", "weather", '{"city": "Z\u00fcrich", "days": 2.50, "x": [null]}')]
    answer = {"role": "tool", "tool_call_id": "a23456789", "content": '{"rain": true}'}
    two = {"role": "assistant", "content": "Let me see."}
    two["tool_calls"] = [call("b23456789", "now", ""), call("c23456789", "weather", '{"city":"<&>"}')]
    more = [{"role": "tool", "tool_call_id": id, "content": text} for id, text in [("b23456789", "1"), ("c23456789", "2")]]
    short = {"role": "assistant", "content": "", "tool_calls": [call("d", "now", "{}")]}
    return [asked, asked + [one, answer], asked + [two, *more, *say(("assistant", "Yes."))], asked + [short]]


def as_templates_see(message):
    """Arguments are objects and what is not said is an empty text, as vLLM has it."""
    message = {**message, "content": message["content"] or ""}
    if "tool_calls" in message:
        functions = [call["function"] for call in message["tool_calls"]]
        functions = [{**f, "arguments": json.loads(f["arguments"] or "{}")} for f in functions]
        calls = zip(message["tool_calls"], functions)
        message["tool_calls"] = [{**call, "function": function} for call, function in calls]
    return message


def make_with_tools():
    for name, template in TEMPLATES_WITH_TOOLS.items():
        cases = []
        for messages in conversations_with_tools():
            for tools in (TOOLS, TOOLS[1:]):
                case = {"messages": messages, "tools": tools, "add_generation_prompt": True}
                try:
                    case["prompt"] = render(template, list(map(as_templates_see, messages)), True, tools)
                except jinja2.exceptions.TemplateError as error:
                    case["error"] = str(error)
                cases.append(case)
        yield {"name": name, "template": template, "cases": cases}


def render(template, messages, add_generation_prompt, tools=None):
    return ENVIRONMENT.from_string(template).render(
        messages=messages,
        tools=tools,
        documents=None,
        add_generation_prompt=add_generation_prompt,
        bos_token="<s>",
        eos_token="</s>",
    )


def make(folder):
    fixture = {"now_unix_s": NOW, "bos_token": "<s>", "eos_token": "</s>", "templates": []}
    for name, template in TEMPLATES.items():
        cases = []
        for messages in CONVERSATIONS:
            for add_generation_prompt in (False, True):
                case = {"messages": messages, "add_generation_prompt": add_generation_prompt}
                try:
                    case["prompt"] = render(template, messages, add_generation_prompt)
                except jinja2.exceptions.TemplateError as error:
                    case["error"] = str(error)
                cases.append(case)
        fixture["templates"].append({"name": name, "template": template, "cases": cases})
    fixture["with_tools"] = list(make_with_tools())
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "user", "content": parts}]
    fixture["parts"] = {"messages": messages, "as_list": render(PARTS, messages, False)}
    (folder / "tokenizer_chat.json").write_text(json.dumps(fixture, indent=1) + "\n")


if __name__ == "__main__":
    _fixtures.run(__file__, make)
