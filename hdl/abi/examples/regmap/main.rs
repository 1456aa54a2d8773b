//! Writes `hdl/doc/registers.md`, the register map, from the contract: `cargo run -p chimney-abi --example regmap`.

mod page;

fn main() -> std::io::Result<()> {
    std::fs::write(page::FILE, page::text())?;
    println!("{}", page::FILE);
    Ok(())
}
