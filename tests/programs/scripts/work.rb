# Blocks, exceptions, fibers, threads, fork, big numbers, regular expressions, garbage.
words = File.readlines('words.txt', chomp: true).map(&:split)
count = Hash.new(0); words.each { |first, number, _| count[first[0]] += number.to_i }
puts count.sort.map { |k, v| "#{k}=#{v}" }.join(' ')
begin; raise ArgumentError, 'wrong'; rescue => error; puts error.full_message(highlight: false).lines.first[/wrong.*/]; ensure puts 'ensured'; end
fiber = Fiber.new { 3.times { |i| Fiber.yield i * i }; :done }; 4.times { p fiber.resume }
p (1..5).map { |i| Thread.new { (1..i * 1000).sum } }.map(&:value)
pid = fork { puts 'child'; $stdout.flush; exit! 6 }; Process.wait pid; p $?.exitstatus
p 2**300, (1..40).inject(:*), Rational(3, 9), 10.digits
p `sort -r sorted.txt | head -2`
puts File.read('prose.txt').scan(/\b[aeiou]\w+/i).tally.sort_by { |k, v| [-v, k] }.first(8).inspect
a = []; 60_000.times { |i| a << "string #{i}"; a.clear if i % 997 == 0 }; GC.start; p a.size
p catch(:found) { 10.times { |i| throw :found, i if i * i > 50 } }
Signal.trap('USR1') { puts 'signal' }; Process.kill('USR1', Process.pid); sleep 0.02
def deep(n) = n.zero? ? 0 : 1 + deep(n - 1)
p deep(3000), [3, 1, 2].sort, 1.0 / 3, Comparable.instance_methods.sort.first
exit 3
