program p
  integer :: i
  real(8) :: a(100)
  do i = 1, 100
    a(i) = sqrt(real(i, 8)) ** 1.5
  end do
  print *, sum(a), maxval(a)
end program
