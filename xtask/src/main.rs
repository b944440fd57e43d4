//! Tasks of this repository.

mod codegen;

fn main() -> anyhow::Result<()> {
    codegen::run(std::env::args().any(|argument| argument == "--check"))
}
