//! Credentials in URLs, which nobody else is to read.

const HIDDEN: &str = "(hidden)";

/// A parameter with one of these in its name has a secret.
const SECRET: [&str; 7] = ["key", "secret", "token", "pass", "sig", "auth", "credential"];

/// What stands between the parameters of a URL.
const SEPARATORS: [char; 4] = ['?', '&', ';', '#'];

/// `value`, if it is a URL without its credentials: parameters that are named as secrets, and all that stands before an
/// `@`. A password may have any character, so that this hides rather too much than too little.
pub(super) fn hidden(value: String) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value };
    let rest: String = rest.split_inclusive(SEPARATORS).map(without_secret).collect();
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}"),
        None => format!("{scheme}://{rest}"),
    }
}

fn without_secret(parameter: &str) -> String {
    let text = parameter.trim_end_matches(SEPARATORS);
    let is_secret = |name: &str| SECRET.iter().any(|word| name.to_lowercase().contains(word));
    match text.split_once('=') {
        Some((name, _)) if is_secret(name) => {
            format!("{name}={HIDDEN}{}", &parameter[text.len()..])
        }
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_urls_are_hidden() {
        for (value, shown) in [
            ("s3://AKIA:se/cret@bucket/kv", "s3://(hidden)@bucket/kv"),
            ("s3://b/kv?Secret_Key=x@y&region=eu", "s3://b/kv?Secret_Key=(hidden)&region=eu"),
            ("s3://b?region=eu&session_token=x", "s3://b?region=eu&session_token=(hidden)"),
            ("https://b/kv?X-Amz-Signature=x&a=b", "https://b/kv?X-Amz-Signature=(hidden)&a=b"),
            ("s3://b?endpoint_url=http://me:pass@x", "s3://(hidden)@x"),
            ("http://me:a?b@host:4318/v1", "http://(hidden)@host:4318/v1"),
        ] {
            assert_eq!(hidden(value.to_owned()), shown);
        }
    }

    #[test]
    fn all_else_is_as_it_was() {
        for value in [
            "",
            "hf:ORG/MODEL@main:key=x.gguf",
            "s3://bucket/kv?endpoint_url=http://localhost:9000&region=eu",
            "{\"a\": \"b@c\"}",
        ] {
            assert_eq!(hidden(value.to_owned()), value);
        }
    }
}
