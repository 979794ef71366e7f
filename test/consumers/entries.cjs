// Every entry named on the command line, by import and by require: the same exports both ways.
async function load (entries) {
  const different = []
  for (const entry of entries) {
    const imported = await import(entry)
    const required = require(entry)
    const names = Object.keys(imported).filter((name) => name !== 'default' && name !== 'module.exports')
    if (names.length === 0) different.push(entry)
    for (const name of names) if (imported[name] !== required[name]) different.push(`${entry} ${name}`)
  }
  console.log(JSON.stringify(different))
}

load(process.argv.slice(2))
