%module words
struct Point { double x, y; int distance(const Point &other, char *name = nullptr); };
template <class T> T twice(T value);
%template(twice_int) twice<int>;
