// Maps, closures, generators, promises, typed arrays, regular expressions, a child process, code hot enough for the JIT.
const fs = require('fs'), child = require('child_process'), crypto = require('crypto')
const count = {}
for (const line of fs.readFileSync('words.txt', 'utf8').trim().split('\n')) {
  const [first, number] = line.split(' ')
  count[first[0]] = (count[first[0]] || 0) + Number(number)
}
console.log(Object.entries(count).sort().join(' '))
function* squares (n) { for (let i = 0; i < n; i++) yield i * i }
console.log([...squares(6)], 2n ** 100n, [3, 1, 2].sort(), JSON.stringify({ a: [1, { b: null }] }))
let hash = 0; for (let i = 0; i < 3e6; i++) hash = (Math.imul(hash, 31) + i) | 0
console.log(hash, crypto.createHash('sha256').update(fs.readFileSync('data.bin')).digest('hex'))
const floats = new Float64Array(1000).map((_, i) => Math.sin(i)); console.log(floats.reduce((a, b) => a + b))
try { null.property } catch (error) { console.log(error.message) }
console.log(child.execSync('sort -r sorted.txt | head -2').toString())
setTimeout(() => { console.log('later'); process.exitCode = 3 }, 10)
Promise.all([1, 2, 3].map(async n => n * 2)).then(all => console.log(all))
