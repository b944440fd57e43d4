//! `${{ name }}` in a file: substitution and nothing else. `$${{` stands for a literal `${{`.

use std::collections::{BTreeMap, BTreeSet};

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name that nobody knows.
    #[error("line {line}: `${{{{ {name} }}}}` is not known")]
    Unknown {
        /// From 1.
        line: usize,
        /// Which.
        name: String,
    },
    /// A name without an end.
    #[error("line {line}: `${{{{` has no `}}}}` (a literal one is written `$${{{{`)")]
    Open {
        /// From 1.
        line: usize,
    },
}

/// Every name that the text mentions.
///
/// # Errors
/// A `${{` without its end.
pub fn names(text: &str) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    scan(text, |name, _| {
        names.insert(name.to_owned());
        Ok(String::new())
    })?;
    Ok(names)
}

/// The text with every name replaced by its value. Values are not looked into again.
///
/// # Errors
/// A name without a value, or without its end.
pub fn render(text: &str, values: &BTreeMap<String, String>) -> Result<String, Error> {
    scan(text, |name, line| values.get(name).cloned().ok_or_else(|| Error::Unknown { line, name: name.to_owned() }))
}

fn scan(text: &str, mut value: impl FnMut(&str, usize) -> Result<String, Error>) -> Result<String, Error> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${{") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${{");
            rest = &rest[start + 3..];
            continue;
        }
        let line = 1 + text[..text.len() - rest.len() + start].matches('\n').count();
        out.push_str(&rest[..start]);
        let inner = &rest[start + 3..];
        let end = inner.find("}}").filter(|end| !inner[..*end].contains('\n')).ok_or(Error::Open { line })?;
        out.push_str(&value(inner[..end].trim(), line)?);
        rest = &inner[end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitutes_names_and_nothing_else() {
        let values = BTreeMap::from([("a".to_owned(), "${{ b }}".to_owned()), ("node.arch".to_owned(), "amd64".to_owned())]);
        for (text, rendered) in [
            ("", Ok("")),
            ("x ${{ a }} y ${{node.arch}}", Ok("x ${{ b }} y amd64")),
            ("$${{ a }} $$ ${ {", Ok("${{ a }} $$ ${ {")),
            ("$$${{ a }}", Ok("$${{ a }}")),
            ("${{ a }}${{ a }}", Ok("${{ b }}${{ b }}")),
            ("one\ntwo ${{ c }}", Err(Error::Unknown { line: 2, name: "c".into() })),
            ("one\n${{ a", Err(Error::Open { line: 2 })),
            ("${{ a\n}}", Err(Error::Open { line: 1 })),
        ] {
            assert_eq!(render(text, &values), rendered.map(str::to_owned), "{text:?}");
        }
        assert_eq!(names("${{ a }} $${{ b }} ${{ c.d }}").unwrap(), BTreeSet::from(["a".to_owned(), "c.d".to_owned()]));
    }

    proptest::proptest! {
        #[test]
        fn a_text_whose_openings_are_escaped_renders_to_itself(text in "[a${} \n]{0,40}") {
            let escaped = text.replace("${{", "$${{");
            proptest::prop_assert_eq!(render(&escaped, &BTreeMap::new()).unwrap(), text);
        }
    }
}
