//! What is wrong with a definition, where, and what to write instead.

use std::fmt;
use std::sync::Arc;

use super::package::{Location, SourceFile};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` for what is wrong with a flag or with the file as a whole.
    pub at: Option<Location>,
    /// The component that it is in.
    pub component: Option<String>,
    /// What is wrong, in one line.
    pub message: String,
    /// Why that is so, where the message does not say it.
    pub cause: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with its place.
    pub fn new(at: impl Into<Option<Location>>, message: impl Into<String>) -> Self {
        Self { at: at.into(), component: None, message: message.into(), cause: None, hint: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The same with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with what to do, where there is a hint at all.
    #[must_use]
    pub fn hint_if(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

/// Everything that is wrong with one file, in the order of the file; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file that they are in.
    pub file: Arc<SourceFile>,
    /// The problems.
    pub list: Vec<Problem>,
}

impl Problems {
    /// Sorts problems by their place, with what may be a password in a URL as asterisks; two that say the same at one place (through an alias) are one.
    pub(super) fn new(file: Arc<SourceFile>, mut list: Vec<Problem>) -> Self {
        for problem in &mut list {
            problem.message = masked(&problem.message);
            problem.cause = problem.cause.as_deref().map(masked);
        }
        list.sort_by_key(|problem| problem.at);
        list.dedup_by(|a, b| a.at == b.at && a.message == b.message);
        Self { file, list }
    }
}

/// Each problem with its place, the line with a caret under it, cause and hint. The first begins without the word `error`,
/// which whoever prints it puts before every error; the others have it.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\nerror: ")?;
            }
            f.write_str(&problem.message)?;
            if let Some(at) = problem.at {
                write!(f, "\n  in     {}", self.file.place(at))?;
                if let Some(component) = &problem.component {
                    write!(f, ", component `{component}`")?;
                }
                if let Some(snippet) = self.file.snippet(at) {
                    write!(f, "\n{snippet}")?;
                }
            } else {
                write!(f, "\n  in     {}", self.file.path.display())?;
            }
            if let Some(cause) = &problem.cause {
                write!(f, "\n  cause  {}", cause.replace('\n', "\n         "))?;
            }
            if let Some(hint) = &problem.hint {
                write!(f, "\n  hint   {}", hint.replace('\n', "\n         "))?;
            }
        }
        Ok(())
    }
}

/// Columns of a snippet that are shown: a longer line is cut.
const SNIPPET_WIDTH: usize = 120;

impl SourceFile {
    /// `coracle.yaml:31:9`.
    #[must_use]
    pub fn place(&self, at: Location) -> String {
        format!("{}:{}:{}", self.path.display(), at.line, at.column)
    }

    /// The line with carets under the word at this place, indented as an error's place is; `None` past the end of the file.
    ///
    /// What may be a password in a URL is shown as asterisks.
    #[must_use]
    pub fn snippet(&self, at: Location) -> Option<String> {
        let line = self.text.lines().nth(usize::try_from(at.line).ok()?.checked_sub(1)?)?;
        let line: String = masked(line).replace('\t', " ");
        let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
        if line.trim().is_empty() || column > line.chars().count() {
            return None;
        }
        // A window that begins at most half its width before the word, so that the caret is always seen.
        let cut = if column > SNIPPET_WIDTH - 20 { column - SNIPPET_WIDTH / 2 } else { 0 };
        let shown: String = line.chars().skip(cut).take(SNIPPET_WIDTH).collect();
        let rest: String = line.chars().skip(column).collect();
        let width = word(&rest).clamp(1, (SNIPPET_WIDTH - (column - cut)).max(1));
        let number = at.line.to_string();
        let gutter = " ".repeat(number.len());
        let carets = format!("{}{}", " ".repeat(column - cut), "^".repeat(width));
        Some(format!("         {gutter} |\n         {number} | {}\n         {gutter} | {carets}", shown.trim_end()))
    }
}

/// Puts an asterisk for each character of what stands between `://` and `@`.
fn masked(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '`')).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        out.push_str(before);
        match authority.rfind('@') {
            Some(sign) => {
                out.extend(std::iter::repeat_n('*', authority[..sign].chars().count()));
                out.push_str(&authority[sign..]);
            }
            None => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// How many characters the word is long that a line begins with: a quoted scalar to its quote, a plain one to where YAML ends it.
fn word(rest: &str) -> usize {
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    if let Some(quote) = quote {
        return rest.chars().skip(1).position(|c| c == quote).map_or(1, |end| end + 2);
    }
    if rest.starts_with("${{") {
        return rest.find("}}").map_or(3, |end| rest[..end].chars().count() + 2);
    }
    if rest.starts_with(['{', '[', '|', '>']) {
        return 1;
    }
    let end = [": ", " #", ", ", "]", "}"].iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
    let word = rest[..end].trim_end();
    let word = word.strip_suffix(':').unwrap_or(word);
    // `{name}` and `${{ name }}` end no plain scalar.
    if word.contains('{') {
        let end = [": ", " #"].iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
        return rest[..end].trim_end().chars().count();
    }
    word.chars().count()
}

/// The known word that is most like a wrong one; `None` where none is near. Likeness is by edits, not by a common beginning:
/// `node.adress` is not like `node.role`.
pub(super) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    known
        .into_iter()
        .map(|word| (strsim::normalized_damerau_levenshtein(&lower, &word.to_lowercase()), word))
        .filter(|(likeness, _)| *likeness >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// `did you mean `x`?` for the nearest word, else the list of all.
pub(super) fn suggest(wrong: &str, known: &[&str]) -> String {
    match nearest(wrong, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_never_shows() {
        for (line, shown) in [
            ("source: https://user:secret@host/x", "source: https://***********@host/x"),
            ("https://a@b@c/ and http://d:e@f", "https://***@c/ and http://***@f"),
            ("https://host/a@b", "https://host/a@b"),
            ("`https://a:b@c` is `x@y`", "`https://***@c` is `x@y`"),
        ] {
            assert_eq!(masked(line), shown);
        }
    }

    #[test]
    fn the_carets_span_the_word() {
        for (rest, width) in [("key: value", 3), ("key:", 3), ("\"a b\": c", 5), ("a b, c", 3), ("https://h/{x}/y # z", 15), ("[a]", 1)] {
            assert_eq!(word(rest), width, "{rest}");
        }
    }

    #[test]
    fn suggests_the_nearest_word_and_else_all() {
        assert_eq!(suggest("imges", &["files", "images"]), "did you mean `images`?");
        assert_eq!(suggest("zzz", &["files", "images"]), "known here: files, images");
    }
}
