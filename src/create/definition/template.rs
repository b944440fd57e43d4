//! `${{ name }}` in files with `template: true`: which names stand there. Putting values in is the isolated side's work.

/// Facts of the node that a template may name: the same list as the isolated side fills in.
pub const NODE_FACTS: [&str; 7] =
    ["node.hostname", "node.arch", "node.rpm_arch", "node.os", "node.os_version", "node.platform", "node.role"];

/// One `${{ … }}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// The line that it is in, from 1.
    pub line: u32,
    /// What stands between the braces, without the blanks around it; `None` where it is never closed.
    pub name: Option<String>,
}

/// Every placeholder of a text, in order. `$${{` is an escaped `${{` and is none.
#[must_use]
pub fn placeholders(text: &str) -> Vec<Placeholder> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find("${{").map(|start| from + start) {
        let inside = start + 3;
        if text[..start].ends_with('$') {
            from = inside;
            continue;
        }
        let line = u32::try_from(text[..start].matches('\n').count() + 1).unwrap_or(u32::MAX);
        let closed = text[inside..].find("}}").filter(|end| !text[inside..inside + end].contains('\n'));
        found.push(Placeholder { line, name: closed.map(|end| text[inside..inside + end].trim().to_owned()) });
        from = closed.map_or(inside, |end| inside + end + 2);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_placeholders_and_passes_over_what_is_escaped() {
        let names = |text: &str| placeholders(text).into_iter().map(|p| (p.line, p.name)).collect::<Vec<_>>();
        assert_eq!(
            names("a ${{ b }} ${{c}}\n${{ node.arch }}"),
            [(1, Some("b".into())), (1, Some("c".into())), (2, Some("node.arch".into()))]
        );
        assert_eq!(names("$${{ a }} ${ b } {{ c }}"), []);
        assert_eq!(names("${{ a\n}} ${{ b }}"), [(1, None), (2, Some("b".into()))]);
    }
}
