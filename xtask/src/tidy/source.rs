//! One Rust file as the rules see it: the paths that it names, resolved; its macros, derives and functions. Test code is left out.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use super::File;

/// What the rules ask about a file.
#[derive(Default)]
pub struct Source {
    /// From the root of the repository.
    pub path: String,
    /// Lines in it.
    pub lines: usize,
    /// Made by a program.
    pub generated: bool,
    /// Has a `//!` at its top.
    pub documented: bool,
    /// Every path outside test code, from `crate` or the name of a crate on, with its line: `["std", "fs", "File", "open"]`.
    pub names: Vec<(Vec<String>, usize)>,
    /// Every macro called outside test code, by its last name, with its line.
    pub macros: Vec<(String, usize)>,
    /// Every trait derived outside test code, by its last name, with its line.
    pub derives: Vec<(String, usize)>,
    /// Every `allow` attribute.
    pub allows: Vec<usize>,
    /// Functions: name, first line, lines.
    pub functions: Vec<(String, usize, usize)>,
    /// Paths without `.rs` or `/mod.rs` of the modules that this file declares under `cfg(test)`.
    pub test_modules: Vec<String>,
}

impl Source {
    /// Reads a file.
    pub fn parse(file: &File) -> Result<Self> {
        let text = std::str::from_utf8(&file.bytes).with_context(|| file.path.clone())?;
        let tree = syn::parse_file(text).with_context(|| format!("cannot parse {}", file.path))?;
        let documented = tree.attrs.iter().any(|attribute| attribute.path().is_ident("doc"));
        let mut imports = Imports { module: module_path(&file.path), aliases: BTreeMap::new() };
        imports.visit_file(&tree);
        let source =
            Self { path: file.path.clone(), lines: text.lines().count(), generated: file.is_generated(), documented, ..Self::default() };
        let mut reader = Reader { source, imports };
        reader.visit_file(&tree);
        Ok(reader.source)
    }

    /// Whether it is the file of a module: `src/a/b` is `src/a/b.rs`, `src/a/b/mod.rs` and all below.
    pub fn is_module(&self, stem: &str) -> bool {
        self.path.strip_prefix(stem).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Its room: the first module under `crate`; `main` and `lib` for the roots.
    pub fn room(&self) -> &str {
        let rest = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = rest.split('/').next().unwrap_or(rest);
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are `crate::a::b`.
fn module_path(path: &str) -> Vec<String> {
    let stem = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut module: Vec<String> = std::iter::once("crate").chain(stem.split('/')).map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// What a file imports: the whole path of each name.
struct Imports {
    module: Vec<String>,
    aliases: BTreeMap<String, Vec<String>>,
}

impl Imports {
    /// From `crate` or a crate's name on. The program's own crate is `crate` for its `main` too.
    fn resolve(&self, path: &[String]) -> Vec<String> {
        let mut rest = path;
        let mut whole = match path.first().map(String::as_str) {
            Some("self" | "super") => self.module.clone(),
            Some("coracle") => {
                rest = &path[1..];
                vec!["crate".to_owned()]
            }
            Some(first) => match self.aliases.get(first) {
                Some(alias) if path.len() > 1 || alias.len() > 1 => {
                    rest = &path[1..];
                    alias.clone()
                }
                _ => Vec::new(),
            },
            None => Vec::new(),
        };
        for word in rest {
            match word.as_str() {
                "self" => {}
                "super" => drop(whole.pop()),
                _ => whole.push(word.clone()),
            }
        }
        whole
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let mut path = before.to_vec();
        match tree {
            syn::UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                self.tree(&path, &inner.tree);
            }
            syn::UseTree::Name(name) if name.ident == "self" => self.alias(before.last().cloned().unwrap_or_default(), before),
            syn::UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.alias(name.ident.to_string(), &path);
            }
            syn::UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    path.push(rename.ident.to_string());
                }
                self.alias(rename.rename.to_string(), &path);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
            syn::UseTree::Glob(_) => {}
        }
    }

    fn alias(&mut self, name: String, path: &[String]) {
        let whole = self.resolve(path);
        self.aliases.insert(name, whole);
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }
}

/// Collects everything.
struct Reader {
    source: Source,
    imports: Imports,
}

impl Reader {
    fn name(&mut self, path: &[String], line: usize) {
        let whole = self.imports.resolve(path);
        self.source.names.push((whole, line));
    }

    fn names_of(&mut self, before: &[String], tree: &syn::UseTree) {
        let mut path = before.to_vec();
        let line = tree.span().start().line;
        match tree {
            syn::UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                self.names_of(&path, &inner.tree);
            }
            syn::UseTree::Name(syn::UseName { ident }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                path.push(ident.to_string());
                self.name(&path, line);
            }
            syn::UseTree::Glob(_) => {
                path.push("*".to_owned());
                self.name(&path, line);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.names_of(before, tree)),
        }
    }

    fn function(&mut self, signature: &syn::Signature, span: proc_macro2::Span) {
        let (first, last) = (signature.span().start().line, span.end().line);
        self.source.functions.push((signature.ident.to_string(), first, last + 1 - first));
    }
}

/// Under `#[cfg(test)]` (alone or among others), or a test itself.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            list.tokens.to_string().split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
                && !list.tokens.to_string().contains("not")
        }
        syn::Meta::Path(path) => path.segments.last().is_some_and(|last| last.ident == "test"),
        _ => false,
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            return visit::visit_item(self, item);
        }
        // Only how long its functions are counts.
        let mut inside = Reader { source: Source::default(), imports: Imports { module: Vec::new(), aliases: BTreeMap::new() } };
        match item {
            syn::Item::Mod(module) if module.content.is_none() => {
                let mut stem = self.imports.module[1..].join("/");
                stem = if stem.is_empty() { module.ident.to_string() } else { format!("{stem}/{}", module.ident) };
                self.source.test_modules.push(format!("src/{stem}"));
            }
            syn::Item::Mod(module) => inside.visit_item_mod(module),
            syn::Item::Fn(function) => inside.visit_item_fn(function),
            _ => {}
        }
        self.source.functions.append(&mut inside.source.functions);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.names_of(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.name(&words, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        if let Some(last) = item.path.segments.last() {
            self.source.macros.push((last.ident.to_string(), item.path.span().start().line));
        }
        visit::visit_macro(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let line = attribute.span().start().line;
        if attribute.path().is_ident("allow") {
            self.source.allows.push(line);
        }
        if attribute.path().is_ident("derive")
            && let Ok(paths) = attribute.parse_args_with(syn::punctuated::Punctuated::<syn::Path, syn::Token![,]>::parse_terminated)
        {
            let last = paths.iter().filter_map(|path| path.segments.last());
            self.source.derives.extend(last.map(|segment| (segment.ident.to_string(), line)));
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, item.span());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, item.span());
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(&item.sig, item.span());
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_names_through_imports_groups_renames_and_super() {
        let text = "use std::{fs, io::Read as R};\nuse super::lock;\nuse crate::fs as files;\n\
                    fn f(r: R) { fs::write(); lock::read(); files::open(); self::g(); coracle::cli::main(); std::env::var(); }\n";
        let file = File { path: "src/create/resolve.rs".to_owned(), bytes: text.as_bytes().to_vec() };
        let names: Vec<String> = Source::parse(&file).unwrap().names.iter().map(|(name, _)| name.join("::")).collect();
        let expected = [
            "std::fs",
            "std::io::Read",
            "crate::create::lock",
            "crate::fs",
            "std::io::Read",
            "std::fs::write",
            "crate::create::lock::read",
            "crate::fs::open",
            "crate::create::resolve::g",
            "crate::cli::main",
            "std::env::var",
        ];
        for name in expected {
            assert!(names.iter().any(|found| found == name), "{name} is not in {names:?}");
        }
    }
}
