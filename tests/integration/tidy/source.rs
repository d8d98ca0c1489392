//! A parsed source file: which paths it names, outside of tests, and where it
//! is unsafe.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// A file of `src`.
pub(super) struct Source {
    /// Path from the crate's root, with slashes.
    pub(super) path: String,
    /// Path of the module, without `crate`; empty for the root.
    pub(super) module: Vec<String>,
    /// The text.
    pub(super) text: String,
    /// Paths that are named outside of tests, in full: they start with `crate`
    /// or the name of another crate.
    pub(super) paths: Vec<Vec<String>>,
    /// What is unsafe, tests included.
    pub(super) unsafe_places: Vec<String>,
    /// Modules in files of their own that are compiled for tests only.
    test_modules: Vec<Vec<String>>,
}

/// All files below `src`; those that are only compiled for tests name no paths.
pub(super) fn sources_of(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    files.sort();
    let mut sources: Vec<Source> = files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).expect("source files are UTF-8");
            let path = file.strip_prefix(root).expect("files are below the root");
            Source::parse(&path.to_string_lossy(), &text)
        })
        .collect();
    let test_modules: Vec<Vec<String>> = sources.iter().flat_map(|source| source.test_modules.clone()).collect();
    for source in &mut sources {
        if test_modules.iter().any(|module| source.module.starts_with(module)) {
            source.paths.clear();
        }
    }
    sources
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

impl Source {
    /// Parses one file.
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let module: Vec<String> = path
            .trim_start_matches("src/")
            .trim_end_matches(".rs")
            .split('/')
            .filter(|part| *part != "lib")
            .map(str::to_owned)
            .collect();
        let mut names = Names::default();
        names.visit_file(&file);
        let mut visitor = Visitor { module: module.clone(), names: names.0, ..Visitor::default() };
        visitor.visit_file(&file);
        let Visitor { paths, unsafe_places, test_modules, .. } = visitor;
        Self { path: path.to_owned(), module, text: text.to_owned(), paths, unsafe_places, test_modules }
    }
}

/// Names that `use` and `mod` bring into the file from the crate itself: as
/// the first part of a path they are no crate.
#[derive(Default)]
struct Names(HashSet<String>);

impl Visit<'_> for Names {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        for (path, name) in flatten(&item.tree) {
            if item.leading_colon.is_none() && matches!(path[0].as_str(), "crate" | "self" | "super" | "rscore") {
                self.0.insert(name);
            }
        }
    }

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        self.0.insert(item.ident.to_string());
        visit::visit_item_mod(self, item);
    }
}

#[derive(Default)]
struct Visitor {
    module: Vec<String>,
    names: HashSet<String>,
    paths: Vec<Vec<String>>,
    unsafe_places: Vec<String>,
    test_modules: Vec<Vec<String>>,
    /// Whether what is visited is compiled for tests only.
    in_test: bool,
}

impl Visitor {
    /// Notes a path, resolved to the crate's root or to another crate.
    fn note(&mut self, segments: &[String], leading_colon: bool) {
        if self.in_test {
            return;
        }
        let Some(first) = segments.first() else { return };
        let mut module = self.module.clone();
        let rest = match first.as_str() {
            _ if leading_colon => return self.paths.push(segments.to_vec()),
            "crate" | "rscore" => {
                module.clear();
                &segments[1..]
            }
            "self" => &segments[1..],
            "super" => {
                let ups = segments.iter().take_while(|segment| *segment == "super").count();
                module.truncate(module.len().saturating_sub(ups));
                &segments[ups..]
            }
            name if self.names.contains(name) => return,
            _ => return self.paths.push(segments.to_vec()),
        };
        let mut full = vec!["crate".to_owned()];
        full.extend(module);
        full.extend(rest.iter().cloned());
        self.paths.push(full);
    }

    fn within_test(&mut self, test: bool, go_on: impl FnOnce(&mut Self)) {
        let before = self.in_test;
        self.in_test |= test;
        go_on(self);
        self.in_test = before;
    }

    fn note_unsafe(&mut self, present: bool, what: &str) {
        if present {
            self.unsafe_places.push(what.to_owned());
        }
    }
}

impl Visit<'_> for Visitor {
    fn visit_item(&mut self, item: &Item) {
        self.within_test(is_test(attributes(item)), |visitor| visit::visit_item(visitor, item));
    }

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        self.module.push(item.ident.to_string());
        if self.in_test && item.content.is_none() {
            self.test_modules.push(self.module.clone());
        }
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        for (path, _) in flatten(&item.tree) {
            self.note(&path, item.leading_colon.is_some());
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // A single name is a variable or was imported.
        if segments.len() > 1 {
            self.note(&segments, path.leading_colon.is_some());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        for word in words(&call.tokens.to_string()) {
            let segments: Vec<String> = word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
            if segments.len() > 1 {
                self.note(&segments, word.starts_with("::"));
            }
            self.note_unsafe(word == "unsafe", "unsafe code in a macro");
        }
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        let lint = attribute.meta.require_list().is_ok_and(|list| {
            let text = list.tokens.to_string();
            let allows = ["allow", "expect", "warn"].iter().any(|name| attribute.path().is_ident(name));
            attribute.path().is_ident("unsafe") || (allows && words(&text).iter().any(|word| word == "unsafe_code"))
        });
        self.note_unsafe(lint, "an attribute that permits unsafe code");
    }

    fn visit_expr_unsafe(&mut self, block: &syn::ExprUnsafe) {
        self.note_unsafe(true, "an unsafe block");
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_signature(&mut self, signature: &syn::Signature) {
        self.note_unsafe(signature.unsafety.is_some(), "an unsafe function");
        visit::visit_signature(self, signature);
    }

    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        self.within_test(is_test(&function.attrs), |visitor| visit::visit_impl_item_fn(visitor, function));
    }

    fn visit_item_impl(&mut self, item: &syn::ItemImpl) {
        self.note_unsafe(item.unsafety.is_some(), "an unsafe impl");
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &syn::ItemTrait) {
        self.note_unsafe(item.unsafety.is_some(), "an unsafe trait");
        visit::visit_item_trait(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &syn::ItemForeignMod) {
        self.note_unsafe(true, "foreign functions");
        visit::visit_item_foreign_mod(self, item);
    }
}

/// Every path of a `use` with the name that it gets.
fn flatten(tree: &UseTree) -> Vec<(Vec<String>, String)> {
    match tree {
        UseTree::Path(path) => {
            let first = path.ident.to_string();
            let prefixed = |(mut rest, name): (Vec<String>, String)| {
                // `a::{self}` is `a`, under its own name.
                if rest == ["self"] {
                    return (vec![first.clone()], if name == "self" { first.clone() } else { name });
                }
                rest.insert(0, first.clone());
                (rest, name)
            };
            flatten(&path.tree).into_iter().map(prefixed).collect()
        }
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(rename) => vec![(vec![rename.ident.to_string()], rename.rename.to_string())],
        UseTree::Glob(_) => vec![(vec!["*".to_owned()], "*".to_owned())],
        UseTree::Group(group) => group.items.iter().flat_map(flatten).collect(),
    }
}

/// Identifiers and paths in the text of tokens, without string literals.
fn words(tokens: &str) -> Vec<String> {
    let mut code = String::new();
    let mut characters = tokens.chars();
    while let Some(character) = characters.next() {
        if character != '"' {
            code.push(character);
            continue;
        }
        code.push(' ');
        while let Some(inside) = characters.next() {
            match inside {
                '\\' => _ = characters.next(),
                '"' => break,
                _ => {}
            }
        }
    }
    let code = code.replace(" :: ", "::").replace(":: ", "::");
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(|c| !is_part(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether something is compiled for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| {
                let words = words(&list.tokens.to_string());
                words.iter().any(|word| word == "test") && !words.iter().any(|word| word == "not" || word == "any")
            })
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
