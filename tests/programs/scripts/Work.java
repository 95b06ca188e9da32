import java.nio.file.*; import java.util.*; import java.util.concurrent.*; import java.util.stream.*;
/** Collections, exceptions, threads, a null pointer (which the virtual machine catches as a fault), hot code. */
public class Work {
    static int deep(int n) { return n == 0 ? 0 : 1 + deep(n - 1); }
    public static void main(String[] args) throws Exception {
        Map<Character, Integer> count = new TreeMap<>();
        for (String line : Files.readAllLines(Path.of("words.txt"))) { String[] w = line.split(" "); count.merge(w[0].charAt(0), Integer.parseInt(w[1]), Integer::sum); }
        System.out.println(count);
        int caught = 0;
        for (int i = 0; i < 20000; i++) try { String s = i % 2 == 0 ? null : "x"; s.length(); } catch (NullPointerException e) { caught++; }
        System.out.println("caught " + caught);
        try { System.out.println(1 / (args.length - args.length)); } catch (ArithmeticException e) { System.out.println(e.getMessage()); }
        try { deep(10_000_000); } catch (StackOverflowError e) { System.out.println("overflow"); }
        ExecutorService pool = Executors.newFixedThreadPool(4); List<Future<Long>> sums = new ArrayList<>();
        for (int t = 1; t <= 6; t++) { final int k = t; sums.add(pool.submit(() -> LongStream.range(0, k * 200000L).map(x -> x * x % 97).sum())); }
        for (Future<Long> f : sums) System.out.print(f.get() + " "); System.out.println(); pool.shutdown();
        long hash = 0; for (int i = 0; i < 5_000_000; i++) hash = hash * 31 + i; System.out.println(hash);
        System.out.println(IntStream.range(0, 60).mapToObj(Integer::toString).collect(Collectors.joining(",")));
        System.exit(3);
    }
}
