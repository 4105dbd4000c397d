//! Just enough of a reader of Rust to tell code from comments, text and tests.

/// A name, number, piece of text or sign, and the line it stands on, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// It follows a single dot, so a number is a field of a tuple.
    is_field: bool,
}

impl Token {
    /// Whether it is a number that can only be a float.
    pub(crate) fn is_float(&self) -> bool {
        let text = self.text.as_str();
        let starts_with_digit = text.bytes().next().is_some_and(|b| b.is_ascii_digit());
        if !starts_with_digit || self.is_field {
            return false;
        }
        let after_digits = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
        let exponent = after_digits.strip_prefix(['e', 'E']);
        text.contains('.')
            || ["f32", "f64"].contains(&after_digits)
            || exponent.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'_'))
    }
}

/// Looking ahead without caring about the end.
pub(crate) trait Tokens {
    fn is(&self, at: usize, text: &str) -> bool;
    fn are(&self, at: usize, texts: &[&str]) -> bool;
}

impl Tokens for [Token] {
    fn is(&self, at: usize, text: &str) -> bool {
        self.get(at).is_some_and(|token| token.text == text)
    }

    fn are(&self, at: usize, texts: &[&str]) -> bool {
        let mut places = texts.iter().enumerate();
        places.all(|(offset, text)| self.is(at + offset, text))
    }
}

/// A module of its own file that is compiled for tests only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Module {
    /// In the file that an attribute names, relative to the declaring file's folder.
    At(String),
    /// In the file of its name.
    Named(String),
}

/// The tokens of `source`; comments are gone, text keeps its quotes.
pub(crate) fn tokens_of(source: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let len = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => comment_len(rest),
            _ if first.is_whitespace() => first.len_utf8(),
            _ => {
                let dots = tokens.iter().rev().take_while(|token| token.text == ".");
                let is_field = dots.take(2).count() == 1;
                let len = token_len(rest, is_field);
                let text = rest[..len].to_owned();
                tokens.push(Token {
                    text,
                    line,
                    is_field,
                });
                len
            }
        };
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

/// Leaves out every item behind `#[cfg(test)]`.
pub(crate) fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if is_test_gate(&tokens, at) {
            at = item_end(&tokens, at);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The modules of their own files behind `#[cfg(test)]`.
pub(crate) fn test_modules(tokens: &[Token]) -> Vec<Module> {
    let mut modules = Vec::new();
    for at in (0..tokens.len()).filter(|at| is_test_gate(tokens, *at)) {
        let item = &tokens[at..item_end(tokens, at)];
        let Some(name) = item.iter().position(|token| token.text == "mod") else {
            continue;
        };
        if !item.is(name + 2, ";") {
            continue;
        }
        let path = (0..name).find(|at| item.are(*at, &["#", "[", "path", "="]));
        modules.push(match path {
            Some(path) => Module::At(item[path + 4].text.trim_matches('"').to_owned()),
            None => Module::Named(item[name + 1].text.clone()),
        });
    }
    modules
}

/// What a path that goes on at `at` reaches: one path, or each of a group in braces, relative to where it starts.
pub(crate) fn imported(tokens: &[Token], at: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // Prefixes of the groups that are open, outermost first; the path in the making.
    let mut groups: Vec<String> = Vec::new();
    let (mut path, mut line) = (String::new(), 0);
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" if path.is_empty() || path.ends_with("::") => {
                groups.push(std::mem::take(&mut path));
            }
            "::" => path.push_str("::"),
            text if is_name(text) && (path.is_empty() || path.ends_with("::")) => {
                path.push_str(text);
                line = token.line;
            }
            sign => {
                if !path.is_empty() {
                    found.push((line, groups.concat() + &std::mem::take(&mut path)));
                }
                match sign {
                    "}" => drop(groups.pop()),
                    // `x as y`: the new name is no path.
                    _ if !groups.is_empty() => {}
                    _ => return found,
                }
                if groups.is_empty() {
                    return found;
                }
            }
        }
    }
    if !path.is_empty() {
        found.push((line, path));
    }
    found
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn is_test_gate(tokens: &[Token], at: usize) -> bool {
    tokens.are(at, &["#", "[", "cfg", "(", "test", ")", "]"])
}

/// Behind the item that the attribute at `at` belongs to: its closing brace, or its semicolon.
fn item_end(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, token) in tokens[at..].iter().enumerate() {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token.text == "}" {
                    // `use a::{b};` goes on to its semicolon.
                    let end = at + offset + 1;
                    return end + usize::from(tokens.is(end, ";"));
                }
            }
            ";" if depth == 0 => return at + offset + 1,
            _ => {}
        }
    }
    tokens.len()
}

fn comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Length of the token at the start of `text`; `is_field` when it follows a dot.
fn token_len(text: &str, is_field: bool) -> usize {
    let word = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let behind = &text[word..];
    match text.as_bytes()[0] {
        b'"' => quoted_len(text, '"'),
        b'\'' => char_len(text),
        b':' if text.starts_with("::") => 2,
        digit if digit.is_ascii_digit() => {
            let decimals = behind.strip_prefix('.').filter(|_| !is_field);
            let is_digit = |c: char| c.is_ascii_alphanumeric() || c == '_';
            match decimals.map(|d| d.find(|c| !is_digit(c)).unwrap_or(d.len())) {
                Some(len) if behind[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                    word + 1 + len
                }
                _ => word,
            }
        }
        _ if word == 0 => text.chars().next().map_or(1, char::len_utf8),
        _ => match &text[..word] {
            "b" | "c" if behind.starts_with('"') => word + quoted_len(behind, '"'),
            "b" if behind.starts_with('\'') => word + quoted_len(behind, '\''),
            "r" | "br" | "cr" if behind.trim_start_matches('#').starts_with('"') => {
                word + raw_len(behind)
            }
            _ => word,
        },
    }
}

/// Length of text in quotes with escapes.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Length of text in quotes and as many `#` as it has in front.
fn raw_len(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let inside = hashes + 1;
    text[inside..]
        .find(&end)
        .map_or(text.len(), |at| inside + at + end.len())
}

/// Length of a character in quotes, or of a lifetime.
fn char_len(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    let first = chars.next();
    if first == Some('\\') || chars.next() == Some('\'') {
        return quoted_len(text, '\'');
    }
    let name = &text[1..];
    1 + name
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(name.len())
}
